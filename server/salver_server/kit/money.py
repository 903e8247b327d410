"""Money in millionths of a dollar, as people read it."""

MILLION = 1_000_000


def dollars(micro: int) -> str:
    """At least cents, and as much behind them as a small amount needs: `$12.50`, `$0.0034`."""
    if 0 < micro < 100:
        return "under $0.0001"
    places = 2 if micro >= MILLION else 4
    whole, _, part = f"{micro / MILLION:,.{places}f}".partition(".")
    return f"${whole}.{part.rstrip('0').ljust(2, '0')}"
