"""Waiting for what other processes bring about: no event reaches a test from there, so it looks again."""

import os
import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds after which a thing that has not come will not come."""
LOOK = 0.02


def until(
    true: Callable[[], object], *, within: float = PATIENCE, what: Callable[[], object] = str
) -> float:
    """Return, once it is true, how many seconds that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within, f"it did not come about in {within} s: {what()}"
        time.sleep(LOOK)
    return time.monotonic() - began


def in_time(seconds: float) -> float:
    """What a promise of so many seconds comes to on a computer that has more to do than this test."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
