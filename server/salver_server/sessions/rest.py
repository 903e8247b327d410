"""Which outbound.db has rested since it was read to its end: told by a `stat`, some ten microseconds instead of a read."""

from dataclasses import dataclass
from pathlib import Path

from salver_server.ids import SessionId

SETTLED = 3.0
"""Seconds after which a later write bears a later time: FAT counts in steps of two."""

State = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Look:
    """A file as it was just before it was read."""

    state: State | None
    since: float
    """When it was first seen so, by the boot clock."""
    at: float


class Rest:
    def __init__(self) -> None:
        self._read: dict[SessionId, Look] = {}

    def before(self, session: SessionId, file: Path, now: float) -> Look:
        """To be asked for before a look, and kept after it."""
        state, last = _state(file), self._read.get(session)
        same = last is not None and last.state == state
        return Look(state, last.since if last and same else now, now)

    def holds(self, session: SessionId, look: Look) -> bool:
        """Whether nothing can have been written since the last look that was kept."""
        last = self._read.get(session)
        return last is not None and last.state == look.state and last.at - last.since >= SETTLED

    def keep(self, session: SessionId, look: Look) -> None:
        """The file was read to its end."""
        self._read[session] = look

    def forget(self, session: SessionId) -> None:
        self._read.pop(session, None)


def _state(file: Path) -> State | None:
    try:
        found = file.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
