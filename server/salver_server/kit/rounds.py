"""Work that is asked for by key: one piece at a time per key, many keys at once.

What is asked for while its key is being worked on is done once more afterwards, never in parallel and
never forgotten. This is the rim of the loops: whatever fails here is logged and tried again later.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)

BACK_OFF = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0)
"""Seconds until a failed piece of work is tried again; the last one repeats."""


class Later(Exception):
    """The work can't be done now; `retry_after` says when to try again, in seconds."""

    retry_after: float | None = None


class Rounds(Generic[Key]):
    def __init__(
        self,
        name: str,
        work: Callable[[Key], Awaitable[None]],
        tasks: asyncio.TaskGroup,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._work = work
        self._tasks = tasks
        self._sleep = sleep
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.Task[None]] = {}

    def ask(self, key: Key) -> None:
        """Do the work of this key soon; asking twice is asking once."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._running:
            self._again.add(key)
            return
        self._running.add(key)
        self._tasks.create_task(self._run(key), name=f"{self._name}({key})")

    async def _run(self, key: Key) -> None:
        try:
            while True:
                self._again.discard(key)
                await self._work(key)
                self._failures.pop(key, None)
                if key not in self._again:
                    return
        except Later as exc:
            self._later(key, exc.retry_after)
        except Exception:
            logger.exception("work failed", extra={"work": self._name, "key": key})
            self._later(key, None)
        finally:
            self._running.discard(key)
            self._again.discard(key)

    def _later(self, key: Key, seconds: float | None) -> None:
        count = self._failures[key] = self._failures.get(key, -1) + 1
        wait = BACK_OFF[min(count, len(BACK_OFF) - 1)]
        if seconds is not None:
            # Who asked meanwhile may know more than the work that failed: it isn't put off for long.
            wait = min(seconds, wait) if key in self._again else seconds
        # A task, since a timer of the loop's would outlive the group.
        self._timers[key] = self._tasks.create_task(
            self._ask_in(key, wait), name=f"{self._name}.later({key})"
        )

    async def _ask_in(self, key: Key, seconds: float) -> None:
        await self._sleep(seconds)
        self._timers.pop(key, None)
        self.ask(key)

    def failures(self, key: Key) -> int:
        """How often in a row the work of this key has failed."""
        return self._failures.get(key, -1) + 1
