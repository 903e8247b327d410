"""Time comes in through here: the wall for due times, the boot clock for durations.

A stamp is text, exactly `YYYY-MM-DDTHH:MM:SS.mmmZ`, so that stamps compare as they sort.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import NewType, Protocol

Stamp = NewType("Stamp", str)

LONGEST_SLEEP = 30.0
"""Seconds; sleeps are re-checked at least this often, since the wall clock may be set meanwhile."""


class Clock(Protocol):
    """What the rooms ask of time."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def elapsed(self) -> float:
        """Seconds since boot, sleep of the computer included; never runs backwards."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def stamp(moment: datetime) -> Stamp:
    """An aware moment as a stamp."""
    utc = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return Stamp(utc.removesuffix("+00:00") + "Z")


def moment(text: str) -> datetime:
    """The moment that a stamp names."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
