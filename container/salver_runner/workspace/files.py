"""Files read whole and replaced whole: never a wait for a pipe or a device, never half a file.

The sandbox itself is the wall: links are followed, as any program would follow them.
"""

import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

LARGEST = 10_000_000
"""Bytes of a file that is taken as a whole; of larger ones the shell shows parts."""
PROBE = 8192
"""Bytes at the beginning of a file within which a zero tells that it is no text."""


class Unusable(Exception):
    """This file can't be had; the text is for the model: why, and what to do now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What changes with a file's contents."""

    inode: int
    mtime_ns: int
    size: int


def contents(path: str) -> tuple[bytes, State]:
    """All of a regular file; raises `Unusable`."""
    try:
        # Without waiting: opening a pipe would last until somebody writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            known = state(path, os.fstat(descriptor))
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(LARGEST + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as exc:
        raise Unusable(trouble(path, exc)) from exc
    if len(data) > LARGEST:
        raise Unusable(
            f"{path} is larger than {LARGEST // 1_000_000} MB. Look at parts of it with the shell:"
            " grep, head, tail, sed -n '100,200p'."
        )
    return data, known


def text(path: str) -> tuple[str, State]:
    """All of a text file, its line ends as they are; raises `Unusable`."""
    data, known = contents(path)
    try:
        if b"\0" not in data[:PROBE]:
            return data.decode(), known
    except UnicodeDecodeError:
        pass  # the same as a zero: said below
    raise Unusable(
        f"{path} is no UTF-8 text ({len(data)} bytes). The shell can tell what it is and convert it:"
        " file, xxd, iconv."
    )


def standing(path: str) -> State | None:
    """The state of a regular file; None when there is nothing at `path`; raises `Unusable`."""
    try:
        return state(path, Path(path).stat())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise Unusable(trouble(path, exc)) from exc


def replace(path: str, text: str) -> State:
    """Put a whole file in the place of what is there, or of nothing; raises `Unusable`."""
    try:
        data = text.encode()
        target = Path(path).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        return _put(target, data)
    except UnicodeEncodeError as exc:
        raise Unusable("The text holds half of a character. Nothing was written.") from exc
    except (OSError, ValueError, RuntimeError) as exc:
        raise Unusable(f"{trouble(path, exc)} Nothing was written.") from exc


def _put(target: Path, data: bytes) -> State:
    mode = _mode(target)
    beside = target.with_name(f".salver-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(beside, flags, 0o666 if mode is None else mode), "wb") as file:
            file.write(data)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            written = state(str(target), os.fstat(file.fileno()))
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync(target.parent)
    return written


def sync(folder: Path) -> None:
    """What was made or renamed in a folder is on disk when this returns."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _mode(target: Path) -> int | None:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return None


def state(path: str, found: os.stat_result) -> State:
    """That of a regular file; raises `Unusable` for anything else."""
    if stat.S_ISDIR(found.st_mode):
        raise Unusable(f"{path} is a folder. `glob` with this `path` and the pattern * lists it.")
    if not stat.S_ISREG(found.st_mode):
        raise Unusable(f"{path} is no regular file but a pipe, a socket or a device.")
    return State(inode=found.st_ino, mtime_ns=found.st_mtime_ns, size=found.st_size)


def trouble(path: str, exc: Exception) -> str:
    """What the system said, in a sentence."""
    match exc:
        case FileNotFoundError():
            return f"There is no {path}. Look for it with `glob`; relative paths begin in {Path.cwd()}."
        case PermissionError():
            return f"{path} is not open to you: permission denied."
        case IsADirectoryError():
            return f"{path} is a folder."
        case NotADirectoryError() | FileExistsError():
            return f"{path} cannot be: a part of this path is a file, not a folder."
        case OSError():
            return f"{path} cannot be used: {exc.strerror or exc}."
        case _:
            return f"{path!r} is no path: {exc}."
