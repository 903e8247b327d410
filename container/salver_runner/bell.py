"""Waiting for something new in inbound.db without asking all the time.

The server rings on the line. Where the line is cut, inotify tells, and where that is missing too
(no instance left, a kernel or a mount without events) a `stat` that slows down while nothing happens.
"""

import asyncio
import ctypes
import os
from pathlib import Path

from salver_runner.clock import elapsed

IN_MOVED_TO, IN_DELETE = 0x80, 0x200
IN_NONBLOCK, IN_CLOEXEC = 0o4000, 0o2000000

WITH_LINE = 5.0
"""Seconds between two looks while the line stands and rings."""
WITH_EVENTS = 1.0
"""The same while the line is cut and inotify works."""
ALONE = (0.02, 1.0)
"""Shortest and longest wait where neither rings; it grows with the time since the last news."""


class Bell:
    """Rung by whoever knows of news; `wait()` returns at once if it rang since the last wait."""

    def __init__(self, watched: Path) -> None:
        self._watched = watched
        self._rung = asyncio.Event()
        self._seen = self._state()
        self._news_at = elapsed()
        self._events = _inotify(watched.parent)
        if self._events is not None:
            asyncio.get_running_loop().add_reader(self._events, self._drain, self._events)

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, *, connected: bool) -> None:
        """Return when there may be news."""
        while not self._rung.is_set():
            try:
                async with asyncio.timeout(self._patience(connected=connected)):
                    await self._rung.wait()
            except TimeoutError:
                if self._state() != self._seen:
                    break
        self._rung.clear()
        self._seen = self._state()
        self._news_at = elapsed()

    def _patience(self, *, connected: bool) -> float:
        if connected:
            return WITH_LINE
        if self._events is not None:
            return WITH_EVENTS
        shortest, longest = ALONE
        return min(max((elapsed() - self._news_at) / 50, shortest), longest)

    def _state(self) -> tuple[int, int, int]:
        try:
            found = self._watched.stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def _drain(self, fd: int) -> None:
        os.read(fd, 65536)
        self._rung.set()


def _inotify(folder: Path) -> int | None:
    """An inotify descriptor on `folder`, or None where there is none to be had."""
    libc = ctypes.CDLL(None)
    fd = libc.inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
    if fd < 0:
        return None
    # A commit is the removal of its journal, a new file comes by a rename. Looking at what is still being
    # written would only stand in the writer's way.
    if libc.inotify_add_watch(fd, bytes(folder), IN_MOVED_TO | IN_DELETE) < 0:
        os.close(fd)
        return None
    return fd
