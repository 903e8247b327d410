"""Findings for people."""

from collections.abc import Iterable

from tests.bench.finding import Finding

HEADS = ("", "median", "p95", "n", "goal", "floor", "times floor")


def table(findings: Iterable[Finding]) -> str:
    rows = [HEADS, *(_row(finding) for finding in findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = [_line(row, widths) for row in rows]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:]])


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    first, *others = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *others])


def _row(it: Finding) -> tuple[str, ...]:
    single = len(it.values) == 1
    return (
        f"{'✗' if it.missed else ' '} {it.what}",
        shown(it.median, it.unit),
        "" if single else shown(it.p95, it.unit),
        str(len(it.values)),
        str(it.goal),
        "" if it.floor is None else shown(it.floor, it.unit),
        "" if not it.floor else f"{it.median / it.floor:.2g}",
    )


def shown(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{number}{'' if unit.startswith('/') else ' '}{unit}"


def footnotes(findings: Iterable[Finding]) -> str:
    return "\n".join(f"  {it.what}: {it.note}" for it in findings if it.note)


def verdict(findings: Iterable[Finding]) -> str:
    """Which budgets are missed, in words."""
    missed = [it for it in findings if it.missed]
    if not missed:
        return "Every budget that was measured is kept."
    lines = [f"  {it.what}: {it.goal} {it.unit} wanted, {_found(it)}" for it in missed]
    return "\n".join(["Missed:", *lines])


def _found(it: Finding) -> str:
    found = f"median {shown(it.median, it.unit)}"
    return found if len(it.values) == 1 else f"{found}, p95 {shown(it.p95, it.unit)}"
