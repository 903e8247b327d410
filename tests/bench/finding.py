"""What a measurement is, and what it finds."""

import math
import statistics
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from tests.bench.house import Yard

UNITS = ("ms", "MB", "%", "/s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A budget of the architecture; what is None is not asked for."""

    median: float | None = None
    p95: float | None = None
    at_least: float | None = None

    def __str__(self) -> str:
        wanted = {"≤ ": self.median, "p95 ≤ ": self.p95, "≥ ": self.at_least}
        return ", ".join(f"{sign}{number:g}" for sign, number in wanted.items() if number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    what: str
    unit: str
    values: Sequence[float]
    goal: Goal = Goal()
    floor: float | None = None
    """What this machine could do at best, measured in the same run and unit."""
    note: str = ""
    """What the floor is, and what else a reader should know."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def p95(self) -> float:
        return sorted(self.values)[math.ceil(len(self.values) * 0.95) - 1]

    @property
    def missed(self) -> bool:
        goal = self.goal
        return (
            (goal.median is not None and self.median > goal.median)
            or (goal.p95 is not None and self.p95 > goal.p95)
            or (goal.at_least is not None and self.median < goal.at_least)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How thoroughly to measure."""

    long: bool

    def often(self, short: int, long: int) -> int:
        return long if self.long else short


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a file in `measures/` exports as `MEASURE`."""

    place: int
    """In the order of the budgets; what leaves the disk busy comes late."""
    title: str
    run: Callable[[Yard, Pace], AsyncIterator[Finding]]
