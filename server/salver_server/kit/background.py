"""Loops that run for as long as something is open, and never end by themselves."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

logger = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds before a loop that failed goes on."""


class _Over(Exception):
    """The block of `background()` has ended."""


@asynccontextmanager
async def background() -> AsyncGenerator[asyncio.TaskGroup]:
    """A task group whose tasks are cancelled, not waited for, when the block ends."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            raise _Over
    except* _Over:
        pass


async def forever(loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop; if it fails, say so and run it again."""
    while True:
        try:
            await loop()
        except Exception:
            logger.exception("loop failed", extra={"loop": repr(loop)})
            await asyncio.sleep(PAUSE)
