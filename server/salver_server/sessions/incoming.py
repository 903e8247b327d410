"""A message's files for one session: copied into its in/ before the row that names them.

A copy shares blocks with the original where the file system can; it is never a hard link, since a
sandbox's file and the server's must not be one. Doing it twice is doing it once.
"""

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from salver_server.errors import Transient
from salver_server.files.copying import clone, copy, sync
from salver_server.runtimes import Identity
from salver_server.sessions.folders import Folders, give
from salver_server.sessions.store import Handover
from salver_server.settings import Places

logger = logging.getLogger(__name__)

NONE = "[]"
"""`Handover.files` of a message without any."""


def lay(rows: Iterable[Handover], places: Places, place: Folders, identity: Identity) -> None:
    """Copy what is missing; raises `Transient` when that is not possible now."""
    for row in rows:
        if row.files == NONE:
            continue
        try:
            _lay(
                [file["name"] for file in json.loads(row.files)],
                places.intake / row.message,
                place.files / row.message,
                identity,
            )
        except OSError as exc:
            why = exc.strerror or str(exc)
            raise Transient(f"the files of message {row.seq} cannot be copied now: {why}") from exc


def _lay(names: list[str], source: Path, target: Path, identity: Identity) -> None:
    for folder in (target.parent, target):
        folder.mkdir(mode=0o700, exist_ok=True)
        give(folder, identity)
    for name in names:
        try:
            if not (target / name).exists():
                _copy(source / name, target / name, identity)
        except FileNotFoundError:
            # The message is worth more than its file; whoever opens it finds it missing.
            logger.warning("file of a message is gone", extra={"file": source / name})
    for folder in (target, target.parent, target.parent.parent):
        sync(folder)


def _copy(source: Path, target: Path, identity: Identity) -> None:
    fresh = target.with_name(f".{target.name}")
    with source.open("rb") as file:
        fresh.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        handle = os.open(fresh, flags, 0o600)
        try:
            if not clone(file.fileno(), handle):
                copy(file.fileno(), handle, most=os.fstat(file.fileno()).st_size)
            os.fsync(handle)
        finally:
            os.close(handle)
    give(fresh, identity)
    fresh.rename(target)
