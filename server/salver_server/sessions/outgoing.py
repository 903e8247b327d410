"""Files that an agent sends: taken out of its out/ by handle before the row that names them counts.

Whatever lies there is its own business until it is copied; only a plain file with one name, as large as
was said and unchanged while it was read, becomes ours. What cannot be taken is said, and holds nothing up.
"""

import asyncio
import errno
import os
import re
import shutil
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from salver_server.errors import Broken
from salver_server.files import store as files
from salver_server.files.copying import copy, sync
from salver_server.files.names import distinct
from salver_server.files.uploads import drop_unknown, kind
from salver_server.ids import AgentName, DeliveryId, FileId, SessionId, mint
from salver_server.kit.failpoint import failpoint
from salver_server.kit.sizes import sized
from salver_server.messages import MOST_FILES, File
from salver_server.sessions.reading import Row
from salver_server.sessions.store import Session
from salver_server.settings import Places, Settings
from salver_server.store import Database

COPIERS = 2
"""Threads: whoever sends much keeps only others' files waiting, and those for one file at a time."""
PLACE = re.compile(r"[0-9a-f]{32}")
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
UNTRUSTED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of one row's files."""

    delivery: DeliveryId
    """In whose name they lie in outgoing/."""
    files: tuple[File, ...]
    refused: tuple[str, ...]
    """What could not be taken and why, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One file as a row names it."""

    place: str
    name: str
    size: int


class Refused(Exception):
    """This file is not taken; the text says why."""


class Outgoing:
    def __init__(
        self,
        *,
        database: Database,
        places: Places,
        settings: Settings,
        disk: Callable[[AgentName], Awaitable[int]],
        copiers: ThreadPoolExecutor,
    ) -> None:
        """`disk` is how many bytes an agent's sandbox may take."""
        self._database = database
        self._root = places.outgoing
        self._largest = settings.largest_file
        self._keep_free = settings.keep_free
        self._disk = disk
        self._copiers = copiers
        self._sent: dict[SessionId, int] = {}
        """Bytes of all that a session has sent."""

    async def take(self, session: Session, outbox: Path, rows: Sequence[Row]) -> dict[int, Taken]:
        """Copy the files of these rows; by the row's number. Raises `Broken` for rows no runner of ours writes."""
        return {row.seq: await self._take(session, outbox, row) for row in rows if brings(row)}

    async def _take(self, session: Session, outbox: Path, row: Row) -> Taken:
        asked = _asked(row)
        delivery = DeliveryId(mint("del"))
        folder = self._root / delivery
        room = await self._disk(session.agent) - await self._sent_by(session.id)
        found: list[File] = []
        refused: list[str] = []
        names = distinct(one.name for one in asked[:MOST_FILES])
        for one, name in zip(asked, names, strict=False):
            try:
                if max(one.size, files.LEAST) > room:
                    raise Refused("this conversation has sent as much as its disk limit allows")
                file = await asyncio.get_running_loop().run_in_executor(
                    self._copiers, self._copy, outbox, one, folder / name
                )
            except (Refused, OSError) as exc:
                refused.append(f"The file '{name}' could not be sent: {_reason(exc)}.")
            else:
                found.append(file)
                room -= max(file.size, files.LEAST)
                self._sent[session.id] += max(file.size, files.LEAST)
        if len(asked) > MOST_FILES:
            refused.append(
                f"{len(asked) - MOST_FILES} more files could not be sent: {MOST_FILES} at once are the most."
            )
        failpoint("outbox.files-taken")
        return Taken(delivery=delivery, files=tuple(found), refused=tuple(refused))

    async def _sent_by(self, session: SessionId) -> int:
        if session not in self._sent:
            self._sent[session] = await self._database.read(
                lambda conn: files.sent_by(conn, session)
            )
        return self._sent[session]

    def _copy(self, outbox: Path, one: _Asked, target: Path) -> File:
        if one.size > self._largest:
            raise Refused(f"it has {sized(one.size)}, {sized(self._largest)} are the most")
        self._root.mkdir(mode=0o700, exist_ok=True)
        if shutil.disk_usage(self._root).free - one.size < self._keep_free:
            raise Refused("the disk of this computer is nearly full")
        held = _held(outbox, one)
        try:
            before = _checked(held, one.size)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                _read(held, target, before)
                if _state(_checked(held, one.size)) != _state(before):
                    raise Refused("it was changed while it was taken")
            except BaseException:
                target.unlink(missing_ok=True)
                raise
        finally:
            os.close(held)
        sync(target.parent)
        sync(self._root)
        return File(id=FileId(mint("fil")), name=target.name, type=kind(target), size=one.size)

    async def settle(self, taken: Mapping[int, Taken]) -> None:
        """Whatever became of these rows: what belongs to no delivery is removed."""
        if taken:
            await drop_unknown(
                self._database, *(self._root / each.delivery for each in taken.values())
            )


def brings(row: Row) -> bool:
    """Whether files come with this row."""
    return row.kind == "send" and bool(row.body.get("files"))


@asynccontextmanager
async def open_outgoing(
    *,
    database: Database,
    places: Places,
    settings: Settings,
    disk: Callable[[AgentName], Awaitable[int]],
) -> AsyncGenerator[Outgoing]:
    copiers = ThreadPoolExecutor(COPIERS, thread_name_prefix="outbox.files")
    try:
        yield Outgoing(
            database=database, places=places, settings=settings, disk=disk, copiers=copiers
        )
    finally:
        await asyncio.to_thread(copiers.shutdown, cancel_futures=True)


def _asked(row: Row) -> list[_Asked]:
    listed = row.body["files"]
    if not isinstance(listed, list):
        raise Broken(f"row {row.seq} has no list of files")
    found: list[_Asked] = []
    for one in cast(list[Any], listed):
        match one:
            case {"place": str(place), "name": str(name), "size": int(size)} if size >= 0:
                found.append(_Asked(place=place, name=name, size=size))
            case _:
                raise Broken(f"row {row.seq} names a file without place, name and size")
    return found


def _held(outbox: Path, one: _Asked) -> int:
    """A handle of out/files/<place>/<name> that neither opens it nor follows a link on the way."""
    if not PLACE.fullmatch(one.place):
        raise Refused("it does not lie where files are sent from")
    if one.name in ("", ".", "..") or "/" in one.name or "\0" in one.name:
        raise Refused("its name is a path")
    try:
        name = one.name.encode()
    except UnicodeEncodeError as exc:
        raise Refused("its name holds half of a character") from exc
    folder = os.open(outbox, FOLDER)
    try:
        for step in ("files", one.place):
            above, folder = folder, os.open(step, FOLDER, dir_fd=folder)
            os.close(above)
        return os.open(name, UNTRUSTED, dir_fd=folder)
    finally:
        os.close(folder)


def _checked(held: int, size: int) -> os.stat_result:
    found = os.fstat(held)
    if not stat.S_ISREG(found.st_mode):
        raise Refused("it is no regular file")
    if found.st_nlink != 1:
        raise Refused(f"it has {found.st_nlink} names")
    if found.st_size != size:
        raise Refused(f"it has {found.st_size} bytes and not {size}, as was said")
    return found


def _read(held: int, target: Path, found: os.stat_result) -> None:
    # By the handle: it is the file that was checked. Without waiting, as for a lease on it.
    source = os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        copied = os.open(target, flags, 0o600)
        try:
            if copy(source, copied, most=found.st_size) != found.st_size:
                raise Refused("it was changed while it was taken")
            os.fsync(copied)
        finally:
            os.close(copied)
    finally:
        os.close(source)


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _reason(exc: Refused | OSError) -> str:
    match exc:
        case Refused():
            return str(exc)
        case OSError(errno=errno.ENOENT):
            return "it is not there"
        case OSError(errno=errno.ELOOP | errno.ENOTDIR):
            return "a part of its path is no folder"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return "the disk of this computer is full"
        case _:
            return f"it cannot be read: {exc.strerror or exc}"
