"""Files on their way in: whole and on disk, or nothing."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from salver_server.errors import Missing, NeedsUser, Rejected
from salver_server.files import Uploads
from salver_server.ids import FileId, MessageId
from salver_server.settings import Places, Settings
from salver_server.store import Database
from tests.fakes.clock import FakeClock

PNG = b"\x89PNG\r\n\x1a\n"
MESSAGE = MessageId("msg-1")


async def body(*pieces: bytes | Exception) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece


@dataclass(slots=True, kw_only=True)
class Shelf:
    """Uploads in a folder of their own."""

    home: Path
    database: Database
    clock: FakeClock

    def uploads(self, **about: int) -> Uploads:
        settings = Settings(
            home=self.home,
            keep_free=about.get("keep_free", 0),
            largest_file=about.get("largest_file", 100),
        )
        return Uploads(
            places=Places(self.home, self.home),
            settings=settings,
            database=self.database,
            clock=self.clock,
        )

    def lies(self) -> dict[str, bytes]:
        """Everything that was kept, by its path, the names of uploads left out."""
        return {
            "/".join("upload" if part.startswith("fil-") else part for part in path.parts): (
                self.home / "intake" / path
            ).read_bytes()
            for path in (
                found.relative_to(self.home / "intake")
                for found in (self.home / "intake").rglob("*")
                if found.is_file()
            )
        }

    def folders(self) -> list[str]:
        return sorted(path.name for path in (self.home / "intake").iterdir())


@pytest.fixture
async def shelf(quick_path: Path, database: Database, clock: FakeClock) -> Shelf:
    shelf = Shelf(home=quick_path / "home", database=database, clock=clock)
    await shelf.uploads().begin()
    return shelf


async def test_a_file_is_kept_as_it_came_and_known_by_what_it_holds(shelf: Shelf) -> None:
    found = await shelf.uploads().take("../a.txt", body(PNG[:3], PNG[3:], b"rest"))
    assert (found.name, found.type, found.size) == ("a.txt", "image/png", 12)
    assert shelf.lies() == {"upload/a.txt": PNG + b"rest"}
    (path,) = (shelf.home / "intake" / found.id).iterdir()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_a_file_may_be_empty(shelf: Shelf) -> None:
    assert (await shelf.uploads().take("a", body())).size == 0
    assert shelf.lies() == {"upload/a": b""}


@pytest.mark.parametrize("length", [0, 101], ids=["unsaid", "said"])
async def test_a_file_that_is_too_large_is_refused_and_nothing_kept(
    shelf: Shelf, length: int
) -> None:
    with pytest.raises(Rejected, match="'a' is larger than 100 B"):
        await shelf.uploads().take("a", body(b"x" * 60, b"x" * 60), length=length)
    assert shelf.folders() == []


async def test_where_the_disk_is_nearly_full_no_file_is_taken(shelf: Shelf) -> None:
    with pytest.raises(NeedsUser, match=r"must stay free\. Free some disk space"):
        await shelf.uploads(keep_free=2**60).take("a", body(b"x"))
    assert shelf.folders() == []


async def test_a_full_disk_is_said_and_nothing_kept(shelf: Shelf) -> None:
    with pytest.raises(NeedsUser, match=r"was not taken: No space left on device\. Free"):
        await shelf.uploads().take("a", body(b"x", OSError(28, os.strerror(28))))
    assert shelf.folders() == []


async def test_of_a_file_that_is_cut_off_nothing_is_kept(shelf: Shelf) -> None:
    with pytest.raises(Gone):
        await shelf.uploads().take("a", cut_off())
    assert shelf.folders() == []


class Gone(Exception):
    """Whoever sends it went away."""


async def cut_off() -> AsyncIterator[bytes]:
    yield b"x"
    raise Gone


async def test_files_lie_beside_their_message_under_names_of_their_own(shelf: Shelf) -> None:
    uploads = shelf.uploads()
    ids = [(await uploads.take("a.txt", body(word))).id for word in (b"one", b"two")]
    found = await uploads.place(ids, MESSAGE)
    assert [(file.id, file.name, file.type, file.size) for file in found] == [
        (ids[0], "a.txt", "text/plain", 3),
        (ids[1], "a-2.txt", "text/plain", 3),
    ]
    assert (shelf.home / "intake" / MESSAGE / "a-2.txt").read_bytes() == b"two"


@pytest.mark.parametrize(
    "id_",
    ["fil-00000000000000000000", "..", "msg-1", "fil-" + "A" * 20, "", "a/b", "\0"],
    ids=ascii,
)
async def test_what_was_never_uploaded_is_missing(shelf: Shelf, id_: str) -> None:
    uploads = shelf.uploads()
    there = (await uploads.take("a", body(b"x"))).id
    with pytest.raises(Missing, match="Upload it again"):
        await uploads.place([there, FileId(id_)], MESSAGE)
    assert shelf.folders() == [there]


async def test_a_message_that_was_not_accepted_leaves_its_uploads(shelf: Shelf) -> None:
    uploads = shelf.uploads()
    id_ = (await uploads.take("a", body(b"x"))).id
    await uploads.place([id_], MESSAGE)
    await uploads.settle([id_], MESSAGE)
    assert shelf.folders() == [id_]
    assert (await uploads.place([id_], MESSAGE))[0].size == 1


async def test_a_start_sweeps_what_a_crash_left_and_keeps_uploads_for_a_day(shelf: Shelf) -> None:
    id_ = (await shelf.uploads().take("a", body(b"x"))).id
    await shelf.uploads().place([id_], MESSAGE)
    (shelf.home / "intake" / ".fil-0").mkdir()
    (shelf.home / "outgoing" / "del-1").mkdir()
    os.utime(shelf.home / "intake" / id_, (at(shelf, hours=-23), at(shelf, hours=-23)))
    await shelf.uploads().begin()
    assert shelf.folders() == [id_]
    assert list((shelf.home / "outgoing").iterdir()) == []
    os.utime(shelf.home / "intake" / id_, (at(shelf, hours=-25), at(shelf, hours=-25)))
    await shelf.uploads().begin()
    assert shelf.folders() == []


def at(shelf: Shelf, *, hours: int) -> float:
    return (shelf.clock.now() + timedelta(hours=hours)).timestamp()
