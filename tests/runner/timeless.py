"""Tests without waiting: an event loop whose clock jumps to the next timer once nothing else is to be done.

Whatever happens inside one process (sockets, inotify, timers) happens in order and at once, so that an
idle hour takes a moment and can be counted. Other processes know nothing of it: tests that start some
run on the ordinary loop.
"""

import asyncio
import functools
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import pytest

Arguments = ParamSpec("Arguments")

NEVER = 3
"""Real seconds after which a loop without timers is taken to wait for nothing."""
LONGEST = 36_000.0
"""Seconds of its own clock after which a test is taken to wait for nothing."""


class Leaping(selectors.DefaultSelector):
    """A selector that never sleeps: it leaps over the time in which nothing happens."""

    now = 0.0
    leaps = 0
    """How often the loop woke up by a timer alone."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if found := super().select(0):
            return found
        if timeout is None:
            if not (found := super().select(NEVER)):
                raise AssertionError("everybody waits, and nothing will ever happen")
            return found
        if timeout > 0:
            self.leaps += 1
            # A hair more, so that rounding never leaves the timer in the future.
            self.now += timeout + 1e-9
            assert self.now < LONGEST, "this went on for hours, and nothing came of it"
        return []


class TimelessLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = Leaping()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def timeless(
    test: Callable[Arguments, Coroutine[Any, Any, None]],
) -> Callable[Arguments, None]:
    """Run an asynchronous test on a `TimelessLoop`; the runner's boot clock goes with it."""

    @functools.wraps(test)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        with (
            asyncio.Runner(loop_factory=TimelessLoop) as runner,
            pytest.MonkeyPatch.context() as patch,
        ):
            clock = runner.get_loop().time

            def boot_clock(_which: int) -> float:
                return clock()

            patch.setattr(time, "clock_gettime", boot_clock)
            runner.run(test(*args, **kwargs))

    return run


def leaps() -> int:
    """How often the running loop has woken up by a timer alone."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, TimelessLoop)
    return loop.clock.leaps
