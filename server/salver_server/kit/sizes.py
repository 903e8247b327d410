"""Sizes as people read them."""

UNITS = ("B", "kB", "MB", "GB")


def sized(count: int) -> str:
    """So many bytes, in the unit that keeps the number short."""
    value, unit = float(count), 0
    # From here on it would be shown as 1000 of the smaller unit.
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return (
        f"{value:.1f} {UNITS[unit]}" if unit > 1 and value < 9.95 else f"{value:.0f} {UNITS[unit]}"
    )
