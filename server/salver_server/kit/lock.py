"""One process at a time per folder; whoever comes second is told who came first."""

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Held(Exception):
    """Somebody else holds the lock; `holder` is what they wrote about themselves."""

    def __init__(self, holder: dict[str, Any]) -> None:
        super().__init__(f"the lock is held by {holder}")
        self.holder = holder


class Lock:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def tell(self, about: dict[str, Any]) -> None:
        """Write about ourselves, for whoever finds the lock held."""
        data = json.dumps(about).encode()
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, data, 0)


@contextmanager
def lock(path: Path) -> Generator[Lock]:
    """Hold the lock at `path`; raises `Held` if another process does."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(_read(fd)) from None
        yield Lock(fd)
    finally:
        os.close(fd)


def _read(fd: int) -> dict[str, Any]:
    try:
        return json.loads(os.pread(fd, 4096, 0))
    except ValueError:
        return {}  # it has only just taken the lock
