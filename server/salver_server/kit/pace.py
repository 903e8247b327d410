"""Slowing down whoever comes too often, or brings too much."""

import asyncio
import time


class Pace:
    """At most so much a second; the rest waits."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0.0
        self._count = 0

    async def keep(self, amount: int = 1) -> None:
        """Return at once while the pace is kept, else when the next second begins."""
        now = time.monotonic()
        if now - self._second >= 1:
            self._second, self._count = now, 0
        self._count += amount
        if self._count > self._most:
            await asyncio.sleep(self._second + 1 - now)
