"""MEMORY.md in the workspace: dated notes that the agent writes itself and finds at the start of each turn.

The workspace is the agent's, so that its conversations share these notes.
"""

import errno
import os
import stat

from salver_runner.workspace import files
from salver_runner.workspace.seen import Seen

PATH = "MEMORY.md"
MOST = 16_000
"""Bytes beyond which no note is taken, and characters that a turn begins with at most."""


def notes(path: str = PATH) -> str:
    """What the agent wrote down; empty when there is nothing. Never fails: it says what is wrong."""
    try:
        if files.standing(path) is None:
            return ""
        text = files.text(path)[0].strip()
    except files.Unusable as exc:
        return f"({exc})"
    if len(text) > MOST:
        return (
            f"{text[:MOST]}\n(MEMORY.md goes on, but is too long to be shown. Read and shorten it.)"
        )
    return text


def add(note: str, *, day: str, seen: Seen, path: str = PATH) -> None:
    """Add a line; raises `Unusable`."""
    before = files.standing(path)
    try:
        line = f"- {day}: {note}\n".encode()
    except UnicodeEncodeError as exc:
        raise files.Unusable("The note holds half of a character. Nothing was added.") from exc
    if before is not None and before.size + len(line) > MOST:
        raise files.Unusable(
            f"MEMORY.md is full ({MOST} bytes); nothing was added. Read it, tidy it with `edit` or"
            " `write` (join what belongs together, drop what no longer counts), then remember this again."
        )
    try:
        after = _append(path, line)
    except (OSError, ValueError) as exc:
        raise files.Unusable(f"{files.trouble(path, exc)} Nothing was added.") from exc
    if before is not None and seen.objection(path, before) is None:
        # Whoever knew the file knows this line as well.
        seen.note(path, after)


def _append(path: str, line: bytes) -> files.State:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            if found.st_size and os.pread(descriptor, 1, found.st_size - 1) != b"\n":
                line = b"\n" + line
            # In one piece: another conversation of this agent may add a line as well.
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        return files.state(path, os.fstat(descriptor))
    finally:
        os.close(descriptor)
