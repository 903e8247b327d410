"""A file that holds some disk space back, for the day when the disk is full."""

import asyncio
import errno
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

HOLE = 2
"""The reserve is only made again when so many times its size is free."""


class Reserve:
    def __init__(self, path: Path, *, size: int) -> None:
        self._path = path
        self._size = size

    def make(self) -> None:
        """Put the space aside, if there is plenty; harmless if it is there."""
        if self._path.exists() or shutil.disk_usage(self._path.parent).free < HOLE * self._size:
            return
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._size)
        except OSError as exc:
            self._path.unlink(missing_ok=True)
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP, errno.EINVAL):
                raise
        finally:
            os.close(fd)

    async def keep(self, sleep: Callable[[float], Awaitable[None]], every: float) -> None:
        """Make it again when there is room again; runs until cancelled."""
        while True:
            await asyncio.to_thread(self.make)
            await sleep(every)

    def spend(self) -> bool:
        """Give the space back to whoever needs it now; false if it was spent before."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True
