"""BASE.md: what the person tells all agents of the house, below Salver's own words and above AGENT.md.

It need not be there. One that cannot be used leaves the last good one at work and says why.
"""

import stat
from dataclasses import dataclass
from pathlib import Path

from salver_server.agents import store
from salver_server.errors import Rejected
from salver_server.store import Database

LONGEST = 50_000
"""Bytes; they stand in every request of every agent."""


@dataclass(frozen=True, slots=True)
class Base:
    text: str
    problem: str
    """Why BASE.md as it lies there is not used; empty if it is, or if there is none."""


class BaseBook:
    def __init__(self, path: Path, database: Database) -> None:
        self._path = path
        self._database = database
        self._known: Base | None = None
        self._signature: tuple[int, ...] = ()

    async def get(self) -> Base:
        """The base as it counts now."""
        signature = self._look()
        if self._known is not None and signature == self._signature:
            return self._known
        known = self._known or Base(*await self._database.read(store.base))
        try:
            found = Base(text=_text(self._path), problem="")
        except Rejected as exc:
            found = Base(text=known.text, problem=str(exc))
        if found != known:
            await self._database.write(
                lambda conn: store.keep_base(conn, found.text, problem=found.problem)
            )
        self._known, self._signature = found, signature
        return found

    def _look(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return (found.st_ino, found.st_mtime_ns, found.st_size)


def _text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Rejected(f"{path} is no file. Put a text file in its place.")
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise Rejected(f"BASE.md has more than {LONGEST} bytes. Shorten it.")
        return data.decode().lstrip("\ufeff").strip()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as exc:
        raise Rejected("BASE.md is no text in UTF-8. Save it as one.") from exc
    except OSError as exc:
        raise Rejected(f"BASE.md cannot be read: {exc.strerror}.") from exc
