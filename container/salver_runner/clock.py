"""Time for the runner: stamps by the wall clock, durations by the boot clock."""

import time
from datetime import UTC, datetime


def stamp() -> str:
    """Now, exactly `YYYY-MM-DDTHH:MM:SS.mmmZ`."""
    now = datetime.now(UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"


def now() -> datetime:
    """This moment, in the local zone."""
    return datetime.now(UTC).astimezone()


def today() -> str:
    """The local day, `YYYY-MM-DD`."""
    return now().date().isoformat()


def elapsed() -> float:
    """Seconds since boot, sleep of the computer included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
