"""Questions that may block for ever, asked one at a time from a thread, with a limit to the waiting.

A keychain shows a prompt and does not return until somebody answers it. Who waits too long leaves; the
question stays, and the next one is asked only once it was answered, so that there are never two prompts.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from salver_server.clock import Clock
from salver_server.kit.background import background

Answer = TypeVar("Answer")


class NoAnswer(Exception):
    """It was not answered in time; it may still be."""


class Asking:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answered = asyncio.Event()
        self._answered.set()

    @property
    def is_open(self) -> bool:
        """A question was asked and is not answered."""
        return not self._answered.is_set()

    async def ask(self, call: Callable[[], Answer], *, until: float) -> Answer:
        """What `call` returns or raises; raises `NoAnswer` at that time of the boot clock."""
        while self.is_open:
            if not await within(self._clock, until, self._answered):
                raise NoAnswer
        answers: list[Callable[[], Answer]] = []
        answered = self._answered = asyncio.Event()
        loop = asyncio.get_running_loop()

        def question() -> None:
            answers.append(_outcome(call))
            with contextlib.suppress(RuntimeError):  # the loop is gone, and nobody waits
                loop.call_soon_threadsafe(answered.set)

        # A daemon, so that a prompt which nobody answers keeps no program alive.
        threading.Thread(target=question, name="salver.secrets", daemon=True).start()
        if not await within(self._clock, until, answered):
            raise NoAnswer
        return answers[0]()


async def within(clock: Clock, until: float, event: asyncio.Event) -> bool:
    """Wait for the event, at most until that time; whether it came."""
    async with background() as tasks:
        coming = tasks.create_task(event.wait(), name="secrets.wait")
        late = tasks.create_task(clock.sleep(until - clock.elapsed()), name="secrets.late")
        await asyncio.wait({coming, late}, return_when=asyncio.FIRST_COMPLETED)
        return event.is_set()


def _outcome(call: Callable[[], Answer]) -> Callable[[], Answer]:
    try:
        answer = call()
    except BaseException as exc:  # noqa: BLE001 it is raised where the answer is waited for
        problem = exc

        def fail() -> Answer:
            raise problem

        return fail
    return lambda: answer
