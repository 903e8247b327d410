"""Files on their way in: streamed to disk first, then laid beside the message that they come with.

An upload lies in intake/<its id>/, a message's files in intake/<message>/. They are linked there before
the message's row is committed and leave the upload's folder after it, so that whoever offers the
message again finds them; whatever a crash leaves between is swept.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from salver_server.clock import Clock
from salver_server.errors import Conflict, Missing, NeedsUser, Rejected
from salver_server.files import store
from salver_server.files.copying import sync
from salver_server.files.names import distinct, safe
from salver_server.files.sniff import PROBE, sniffed
from salver_server.ids import FILE_ID, FileId, MessageId, mint
from salver_server.kit.sizes import sized
from salver_server.messages import File
from salver_server.settings import Places, Settings
from salver_server.store import Database

UNUSED = timedelta(days=1)
"""How long an upload waits for its message."""
SWEEP = 3600.0
"""Seconds between two looks for those that waited in vain."""


class Uploads:
    def __init__(
        self, *, places: Places, settings: Settings, database: Database, clock: Clock
    ) -> None:
        self._places = places
        self._largest = settings.largest_file
        self._keep_free = settings.keep_free
        self._database = database
        self._clock = clock

    async def take(self, name: str, data: AsyncIterator[bytes], *, length: int = 0) -> File:
        """Take a file in; when this returns, it is on disk. `length` is what the sender says of it.

        Raises `Rejected` for one that is too large, `NeedsUser` when there is no room; then nothing is kept.
        """
        id_, name = FileId(mint("fil")), safe(name)
        half = self._places.intake / f".{id_}"
        self._check(name, length)
        try:
            size = await self._stream(half, name, data)
            return await asyncio.to_thread(self._keep, half, id_, name, size)
        except OSError as exc:
            raise NeedsUser(
                f"The file '{name}' was not taken: {exc.strerror or exc}. Free some disk space and send it again."
            ) from exc
        finally:
            await asyncio.to_thread(remove, half)

    async def _stream(self, half: Path, name: str, data: AsyncIterator[bytes]) -> int:
        size = 0
        # Buffered: closing it waits for a piece that is still being written aside.
        with await asyncio.to_thread(_made, half, name) as file:
            async for piece in data:
                size += len(piece)
                self._check(name, size, more=len(piece))
                await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(_settle, file)
        return size

    def _keep(self, half: Path, id_: FileId, name: str, size: int) -> File:
        sync(half)
        half.rename(self._places.intake / id_)
        sync(self._places.intake)
        return File(id=id_, name=name, type=kind(self._places.intake / id_ / name), size=size)

    def _check(self, name: str, size: int, *, more: int | None = None) -> None:
        if size > self._largest:
            raise Rejected(
                f"The file '{name}' is larger than {sized(self._largest)}. Send a smaller one, or put it into"
                " the agent's workspace yourself."
            )
        free = shutil.disk_usage(self._places.home).free - (size if more is None else more)
        if free < self._keep_free:
            raise NeedsUser(
                f"The file '{name}' was not taken: {sized(self._keep_free)} of the disk must stay free."
                " Free some disk space and send it again."
            )

    # For the intake

    async def place(self, uploads: Sequence[FileId], message: MessageId) -> tuple[File, ...]:
        """Lay these files beside a message that is about to be accepted; raises `Missing`."""
        return await asyncio.to_thread(self._place, uploads, message)

    def _place(self, uploads: Sequence[FileId], message: MessageId) -> tuple[File, ...]:
        found = [self._upload(id_) for id_ in uploads]
        folder = self._places.intake / message
        folder.mkdir(mode=0o700)
        files: list[File] = []
        for id_, path, name in zip(uploads, found, distinct(p.name for p in found), strict=True):
            (folder / name).hardlink_to(path)
            size = path.stat().st_size
            files.append(File(id=id_, name=name, type=kind(path), size=size))
        sync(folder)
        sync(self._places.intake)
        return tuple(files)

    def _upload(self, id_: FileId) -> Path:
        # Checked before it is a path: only what was minted here names a folder.
        if FILE_ID.fullmatch(id_):
            with contextlib.suppress(OSError):
                return next((self._places.intake / id_).iterdir())
        raise Missing(f"There is no uploaded file '{id_}'. Upload it again.")

    async def settle(self, uploads: Sequence[FileId], message: MessageId) -> None:
        """Whatever became of the message: its uploads are not needed any more, or else its own folder."""
        if not await drop_unknown(self._database, self._places.intake / message):
            for id_ in uploads:
                await asyncio.to_thread(remove, self._places.intake / id_)

    async def again(self, message: MessageId) -> tuple[FileId, ...]:
        """The files of an accepted message, as uploads for another one."""
        files = await self._database.read(lambda conn: store.of_message(conn, message))
        return await asyncio.to_thread(self._again, message, files)

    def _again(self, message: MessageId, files: Sequence[File]) -> tuple[FileId, ...]:
        uploads: list[FileId] = []
        for file in files:
            id_ = FileId(mint("fil"))
            half = self._places.intake / f".{id_}"
            half.mkdir(mode=0o700)
            try:
                (half / file.name).hardlink_to(self._places.intake / message / file.name)
            except FileNotFoundError as exc:
                remove(half)
                raise Conflict(
                    f"The file '{file.name}' of message '{message}' is gone. Send the message anew."
                ) from exc
            half.rename(self._places.intake / id_)
            uploads.append(id_)
        return tuple(uploads)

    # Sweeping

    async def begin(self) -> None:
        """Take away what an earlier server left of messages and deliveries that came to nothing."""
        await self._sweep(lambda name: not name.startswith("fil-"))

    async def keep(self) -> None:
        """Take away what nobody came back for within a day; runs until cancelled."""
        while True:
            await self._clock.sleep(SWEEP)
            await self._sweep(lambda _: False)

    async def _sweep(self, at_once: Callable[[str], bool]) -> None:
        before = (self._clock.now() - UNUSED).timestamp()
        for root in (self._places.intake, self._places.outgoing):
            found = await asyncio.to_thread(_listed, root, before, at_once)
            await drop_unknown(self._database, *found)


async def drop_unknown(database: Database, *folders: Path) -> bool:
    """Remove those whose message or delivery was never committed; true if there were any."""
    unknown = await database.read(
        lambda conn: [folder for folder in folders if not store.is_known(conn, folder.name)]
    )
    for folder in unknown:
        await asyncio.to_thread(remove, folder)
    return bool(unknown)


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def kind(path: Path) -> str:
    """The type of the file at a path of ours."""
    with path.open("rb") as file:
        return sniffed(file.read(PROBE))


def _made(folder: Path, name: str) -> BinaryIO:
    folder.mkdir(mode=0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(folder / name, flags, 0o600), "wb")


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _listed(root: Path, before: float, at_once: Callable[[str], bool]) -> list[Path]:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.scandir(root) as entries:
        return [
            Path(entry.path)
            for entry in entries
            if at_once(entry.name) or entry.stat(follow_symlinks=False).st_mtime < before
        ]
