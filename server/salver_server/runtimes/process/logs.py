"""What a runner prints goes straight into a file, without a pipe to the server; here it's kept short."""

import os
from io import FileIO
from pathlib import Path

MOST = 8 * 1024 * 1024
"""Bytes of a log before it's put aside."""
TAIL = 256 * 1024
"""Bytes kept of the log of a runner that is still printing."""


def opened(log: Path) -> FileIO:
    """The file for a new runner to print to; a long log of its predecessors is put aside."""
    if _size(log) > MOST:
        log.replace(_aside(log))
    file = FileIO(log, "ab", opener=_private)
    file.seek(0, os.SEEK_END)
    return file


def cut(log: Path) -> None:
    """Empty a log that has grown too long under a live runner, which goes on appending to it."""
    if _size(log) <= MOST:
        return
    with FileIO(log, "r+b", opener=_private) as file:
        file.seek(-TAIL, os.SEEK_END)
        with FileIO(_aside(log), "wb", opener=_private) as aside:
            aside.write(file.read(TAIL))
        file.truncate(0)


def since(log: Path, start: int) -> str:
    """What was printed after this many bytes, as far as it's worth reading."""
    with log.open("rb") as file:
        file.seek(start)
        return file.read(TAIL).decode(errors="replace")


def _size(log: Path) -> int:
    try:
        return log.lstat().st_size
    except FileNotFoundError:
        return 0


def _aside(log: Path) -> Path:
    return log.with_name(f"{log.name}.1")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
