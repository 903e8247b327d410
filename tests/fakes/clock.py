"""FakeClock: time that stands still until a test moves it on."""

import asyncio
from asyncio import Future
from datetime import UTC, datetime, timedelta

from salver_server.clock import Stamp, stamp

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)
PATIENCE = 20.0


class FakeClock:
    def __init__(self, now: datetime = NOON) -> None:
        self._now = now
        self._elapsed = 0.0
        self._sleepers: dict[Future[None], float] = {}
        self._fell_asleep = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    def elapsed(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wakening: Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[wakening] = self._elapsed + seconds
        self._fell_asleep.set()
        try:
            await wakening
        finally:
            self._sleepers.pop(wakening, None)

    def advance(self, seconds: float) -> None:
        """Let time pass; whoever has slept long enough wakes, the earliest first."""
        self._now += timedelta(seconds=seconds)
        self._elapsed += seconds
        for wakening, at in sorted(self._sleepers.items(), key=lambda item: item[1]):
            if at <= self._elapsed and not wakening.done():
                wakening.set_result(None)
                del self._sleepers[wakening]

    def set(self, now: datetime) -> None:
        """Put the wall clock to another time, as a person may; nobody wakes and nothing has passed."""
        self._now = now

    async def asleep(self, sleepers: int = 1) -> None:
        """Return once so many are asleep, so that advancing wakes them."""
        async with asyncio.timeout(PATIENCE):
            while len(self._sleepers) < sleepers:
                self._fell_asleep.clear()
                await self._fell_asleep.wait()

    def stamp(self, ahead: float = 0) -> Stamp:
        """The time so many seconds from now, as a stamp."""
        return stamp(self._now + timedelta(seconds=ahead))
