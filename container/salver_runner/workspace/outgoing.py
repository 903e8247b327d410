"""Files that are sent: each copied to a place of its own in out/, whole and on disk, for the server to take."""

import contextlib
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from salver_runner.workspace.files import Unusable, sync, trouble

LARGEST = 25_000_000
"""Bytes; the server takes no larger ones, unless it is set otherwise."""
PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A file in out/files/<place>/<name>."""

    place: str
    name: str
    size: int


def lay(path: str, into: Path) -> Sent:
    """Copy a regular file below `into`, to be sent; raises `Unusable`."""
    place = into / secrets.token_hex(16)
    # The name goes into a row of text, where bytes that are none have no place.
    name = Path(path).name.encode(errors="replace").decode()
    try:
        # Without waiting: opening a pipe would last until somebody writes into it.
        source = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise Unusable(f"{path} is no regular file; only those can be sent.")
            place.mkdir(parents=True)
            size = _copy(source, place / name)
        finally:
            os.close(source)
        for folder in (place, into, into.parent):
            sync(folder)
    except Unusable:
        _remove(place, name)
        raise
    except (OSError, ValueError) as exc:
        _remove(place, name)
        raise Unusable(f"{trouble(path, exc)} Nothing was sent.") from exc
    return Sent(place=place.name, name=name, size=size)


def _copy(source: int, target: Path) -> int:
    size = 0
    with target.open("xb") as copy:
        while piece := os.read(source, PIECE):
            size += len(piece)
            if size > LARGEST:
                raise Unusable(
                    f"The file has more than {LARGEST // 1_000_000} MB, the most that can be sent. Nothing was"
                    " sent; split or compress it."
                )
            copy.write(piece)
        copy.flush()
        os.fsync(copy.fileno())
    return size


def _remove(place: Path, name: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        (place / name).unlink()
    with contextlib.suppress(OSError):
        place.rmdir()
