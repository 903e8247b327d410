"""What an agent sends is taken by handle, or said not to be; whatever lies there holds nothing up."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from salver_server.errors import Broken
from salver_server.files import store as files
from salver_server.sessions.outgoing import Outgoing, Taken
from salver_server.sessions.reading import Row
from salver_server.sessions.take import take as taken_over
from tests.server.sessions.conftest import Talk

PLACE = "0123456789abcdef" * 2


@dataclass(slots=True, kw_only=True)
class Sandbox:
    """A session's out/, and who takes what is sent from it."""

    talk: Talk
    out: Path

    @property
    def lies(self) -> Path:
        return self.out / "files" / PLACE

    def lay(self, name: str = "a.txt", data: bytes = b"hello") -> dict[str, Any]:
        """A file that is to be sent, as a row names it."""
        self.lies.mkdir(parents=True, exist_ok=True)
        (self.lies / name).write_bytes(data)
        return asked(name, size=len(data))

    def row(self, *sent: Any, text: str = "here") -> Row:
        return self.talk.scribe.row("send", text=text, files=list(sent))

    @asynccontextmanager
    async def outgoing(self, **about: int) -> AsyncGenerator[Outgoing]:
        async with self.talk.desk.outgoing(self.talk.desk.places, **about) as outgoing:
            yield outgoing

    async def take(self, row: Row, **about: int) -> Taken:
        async with self.outgoing(**about) as outgoing:
            taken = await outgoing.take(await self.talk.row(), self.out, [row])
        return taken[row.seq]

    def kept(self) -> dict[str, bytes]:
        """By name, everything that was taken."""
        return {path.name: path.read_bytes() for path in self.root.glob("*/*")}

    @property
    def root(self) -> Path:
        return self.talk.desk.places.outgoing


def asked(name: str = "a.txt", *, place: str = PLACE, size: int = 5) -> dict[str, Any]:
    return {"place": place, "name": name, "size": size}


@pytest.fixture
def sandbox(talk: Talk, quick_path: Path) -> Sandbox:
    out = quick_path / "out"
    out.mkdir()
    return Sandbox(talk=talk, out=out)


async def test_a_file_is_taken_whole_under_a_safe_name(sandbox: Sandbox) -> None:
    row = sandbox.row(sandbox.lay("a\u202e.txt"), sandbox.lay("A.txt", b"\x89PNG\r\n\x1a\n"))
    taken = await sandbox.take(row)
    assert [(file.name, file.type, file.size) for file in taken.files] == [
        ("a.txt", "text/plain", 5),
        ("A-2.txt", "image/png", 8),
    ]
    assert taken.refused == ()
    assert sandbox.kept() == {"a.txt": b"hello", "A-2.txt": b"\x89PNG\r\n\x1a\n"}
    for path in sandbox.root.glob("*/*"):
        assert (path.stat().st_mode & 0o777, path.stat().st_nlink) == (0o600, 1)
        assert path.parent.name == taken.delivery


async def test_what_was_taken_belongs_to_the_delivery_and_the_rest_is_removed(
    sandbox: Sandbox,
) -> None:
    row = sandbox.row(sandbox.lay())
    talk = sandbox.talk
    async with sandbox.outgoing() as outgoing:
        first = await outgoing.take(await talk.row(), sandbox.out, [row])  # and a crash
        again = await outgoing.take(await talk.row(), sandbox.out, [row])
        session, now = await talk.row(), talk.desk.clock.stamp()
        await talk.desk.database.write(lambda conn: taken_over(conn, session, [row], now, again))
        await outgoing.settle(first)
        await outgoing.settle(again)
    (kept,) = sandbox.root.iterdir()
    assert kept.name == again[row.seq].delivery
    found = await talk.read(lambda conn: files.of_delivery(conn, again[row.seq].delivery))
    assert found == again[row.seq].files
    assert await talk.told() == [("send", "here", [])]


# What cannot be taken


def fifo(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.lies.mkdir(parents=True)
    os.mkfifo(sandbox.lies / "a.txt")
    return asked()


def link(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.lies.mkdir(parents=True)
    (sandbox.lies / "a.txt").symlink_to("/etc/hostname")
    return asked(size=Path("/etc/hostname").stat().st_size)


def hard_link(sandbox: Sandbox) -> dict[str, Any]:
    host = sandbox.out.parent / "of the host"
    host.write_bytes(b"hello")
    sandbox.lies.mkdir(parents=True)
    (sandbox.lies / "a.txt").hardlink_to(host)
    return asked()


def folder(sandbox: Sandbox) -> dict[str, Any]:
    (sandbox.lies / "a.txt").mkdir(parents=True)
    return asked(size=(sandbox.lies / "a.txt").stat().st_size)


def a_socket(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.lies.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(sandbox.lies, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/a.txt")
        os.close(here)
    return asked(size=0)


def linked_place(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.lay()
    sandbox.lies.rename(sandbox.out / "elsewhere")
    sandbox.lies.symlink_to(sandbox.out / "elsewhere")
    return asked()


def linked_files(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.lay()
    (sandbox.out / "files").rename(sandbox.out / "elsewhere")
    (sandbox.out / "files").symlink_to("elsewhere")
    return asked()


def gone(_: Sandbox) -> dict[str, Any]:
    return asked()


def smaller(sandbox: Sandbox) -> dict[str, Any]:
    return {**sandbox.lay(), "size": 6}


def sparse(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.lay()
    os.truncate(sandbox.lies / "a.txt", 2**40)
    return asked(size=2**40)


HOSTILE: dict[Callable[[Sandbox], dict[str, Any]], str] = {
    fifo: "it is no regular file",
    link: "it is no regular file",
    hard_link: "it has 2 names",
    folder: "it is no regular file",
    a_socket: "it is no regular file",
    linked_place: "a part of its path is no folder",
    linked_files: "a part of its path is no folder",
    gone: "it is not there",
    smaller: "it has 5 bytes and not 6, as was said",
    sparse: "it has 1100 GB, 25 MB are the most",
}


@pytest.mark.parametrize("attack", HOSTILE, ids=lambda attack: attack.__name__)
async def test_what_is_no_plain_file_is_not_taken_and_said(
    sandbox: Sandbox, attack: Callable[[Sandbox], dict[str, Any]]
) -> None:
    taken = await sandbox.take(sandbox.row(attack(sandbox)), disk=2**50)
    assert taken.files == ()
    assert taken.refused == (f"The file 'a.txt' could not be sent: {HOSTILE[attack]}.",)
    assert sandbox.kept() == {}


@pytest.mark.parametrize(
    "place", ["../..", "..", "", ".", PLACE + "0", PLACE.upper(), PLACE[:-1], PLACE + "\n", "/etc"]
)
async def test_a_place_is_thirty_two_digits_and_no_path(sandbox: Sandbox, place: str) -> None:
    sandbox.lay()
    taken = await sandbox.take(sandbox.row(asked(place=place)))
    assert taken.refused == (
        "The file 'a.txt' could not be sent: it does not lie where files are sent from.",
    )


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a.txt", "/etc/passwd", "a/b", "a\0b", "\ud800"]
)
async def test_a_name_is_no_path(sandbox: Sandbox, name: str) -> None:
    sandbox.lay()
    (why,) = (await sandbox.take(sandbox.row(asked(name)))).refused
    assert "its name" in why
    assert sandbox.kept() == {}


@pytest.mark.parametrize(
    "listed",
    [
        "a.txt",
        {"place": PLACE},
        [1],
        [{"place": PLACE, "name": "a.txt"}],
        [{"place": PLACE, "name": "a.txt", "size": -1}],
        [{"place": PLACE, "name": 7, "size": 1}],
    ],
    ids=repr,
)
async def test_a_row_that_no_runner_writes_is_not_believed(sandbox: Sandbox, listed: Any) -> None:
    row = sandbox.talk.scribe.row("send", text="here", files=listed)
    with pytest.raises(Broken, match=f"row {row.seq}"):
        await sandbox.take(row)


async def test_of_ten_thousand_files_a_few_are_taken(sandbox: Sandbox) -> None:
    sent = [sandbox.lay(f"{number}.txt") for number in range(25)]
    taken = await sandbox.take(sandbox.row(*sent, *[asked("gone")] * 9975))
    assert len(taken.files) == 20
    assert taken.refused == ("9980 more files could not be sent: 20 at once are the most.",)


async def test_a_session_sends_no_more_than_its_disk_may_hold(sandbox: Sandbox) -> None:
    async with sandbox.outgoing(disk=20_000) as outgoing:
        session = await sandbox.talk.row()
        row = sandbox.row(sandbox.lay("a", b"x" * 9000), sandbox.lay("b", b"x" * 9000))
        (first,) = (await outgoing.take(session, sandbox.out, [row])).values()
        assert [file.name for file in first.files] == ["a", "b"]
        row = sandbox.row(sandbox.lay("c", b"x" * 9000), sandbox.lay("d", b""))
        (second,) = (await outgoing.take(session, sandbox.out, [row])).values()
    assert [why.split("'")[1] for why in second.refused] == ["c", "d"]
    assert "as much as its disk limit allows" in second.refused[0]


async def test_what_was_sent_before_a_restart_counts(sandbox: Sandbox) -> None:
    talk = sandbox.talk
    async with sandbox.outgoing() as outgoing:
        row = sandbox.row(sandbox.lay("a", b"x" * 9000))
        taken = await outgoing.take(await talk.row(), sandbox.out, [row])
        session, now = await talk.row(), talk.desk.clock.stamp()
        await talk.desk.database.write(lambda conn: taken_over(conn, session, [row], now, taken))
    again = await sandbox.take(sandbox.row(sandbox.lay("b", b"x" * 9000)), disk=16_000)
    assert len(again.refused) == 1


async def test_the_disk_s_floor_is_kept(sandbox: Sandbox) -> None:
    taken = await sandbox.take(sandbox.row(sandbox.lay()), keep_free=2**60)
    assert "the disk of this computer is nearly full" in taken.refused[0]


GROWS = """
import sys
with open(sys.argv[1], "ab", buffering=0) as file:
    print("begun", flush=True)
    while file.write(b"x"): pass
"""
SWAPS = """
import os, sys
real, host = sys.argv[1:]
print("begun", flush=True)
while True:
    os.symlink(host, real + ".link")
    os.rename(real, real + ".own")
    os.rename(real + ".link", real)
    os.unlink(real)
    os.rename(real + ".own", real)
"""


@contextmanager
def busy(program: str, *words: Path) -> Generator[None]:
    """Another process is at it while the block lasts."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


async def test_a_file_that_grows_all_the_time_holds_nothing_up(sandbox: Sandbox) -> None:
    sent = sandbox.lay()
    with busy(GROWS, sandbox.lies / "a.txt"):
        taken = await sandbox.take(sandbox.row(sent))
    assert taken.files == ()


async def test_a_place_that_is_swapped_all_the_time_gives_the_sandbox_s_own_file_or_none(
    sandbox: Sandbox,
) -> None:
    host = sandbox.out.parent / PLACE
    host.mkdir()
    (host / "a.txt").write_bytes(b"HOST!")
    sent = sandbox.lay()
    with busy(SWAPS, sandbox.lies, host):
        async with sandbox.outgoing() as outgoing:
            session = await sandbox.talk.row()
            for _ in range(300):
                await outgoing.take(session, sandbox.out, [sandbox.row(sent)])
    assert set(sandbox.kept().values()) <= {b"hello"}
