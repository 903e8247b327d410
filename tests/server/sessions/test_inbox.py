import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from salver_server.clock import Clock, SystemClock
from salver_server.errors import Transient
from salver_server.ids import SessionId
from salver_server.kit.background import background
from salver_server.runtimes import Identity
from salver_server.sessions import store
from salver_server.sessions.folders import Folders, folders
from salver_server.sessions.inbox import BATCH, Inbox
from salver_server.settings import Places
from tests.fakes.channel import PATIENCE
from tests.server.conftest import Desk
from tests.server.sessions.conftest import Talk

ME = Identity(uid=os.geteuid(), gid=os.getegid())


@dataclass(slots=True, kw_only=True)
class HandOver:
    """An inbox over real files, and who was told of something new."""

    desk: Desk
    places: Places
    written: list[SessionId] = field(default_factory=list[SessionId])
    handed: list[SessionId] = field(default_factory=list[SessionId])
    _happened: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def inbox(
        self, clock: Clock | None = None, *, written: Callable[[SessionId], None] | None = None
    ) -> AsyncGenerator[Inbox]:
        async with background() as tasks:
            inbox = Inbox(
                database=self.desk.database,
                places=self.places,
                identity=ME,
                clock=clock or self.desk.clock,
                tasks=tasks,
                written=written or self.written.append,
                handed=self._note,
                make_way=self._make_way,
            )
            yield inbox

    async def _make_way(self, session: SessionId) -> None:
        """Nobody stands in the way."""

    def _note(self, session: SessionId) -> None:
        self.handed.append(session)
        self._happened.set()

    async def has_handed(self, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.handed) < times:
                self._happened.clear()
                await self._happened.wait()

    async def accept(self, text: str = "hello", **about: Any) -> SessionId:
        found = await self.desk.intake(self.desk.message(text, **about))
        return found.sessions[0]

    async def place(self, session: SessionId) -> Folders:
        row = await self.desk.session(session)
        return folders(self.places, session, row.agent)

    async def messages(self, session: SessionId) -> list[tuple[int, str]]:
        """Number and text of what lies in inbound.db."""
        place = await self.place(session)
        return rows(place.inbound, "SELECT seq, text FROM messages ORDER BY seq")

    async def settled(self, session: SessionId) -> list[tuple[int, int]]:
        place = await self.place(session)
        return rows(place.inbound, "SELECT first, last FROM settled ORDER BY first")


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
        return conn.execute(sql).fetchall()


@pytest.fixture
def house(desk: Desk, quick_path: Path) -> HandOver:
    return HandOver(desk=desk, places=Places(quick_path / "home", quick_path / "sockets"))


async def test_what_is_accepted_is_handed_over_in_order(house: HandOver) -> None:
    session = await house.accept("one")
    await house.accept("two")
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
    assert await house.messages(session) == [(1, "one"), (2, "two")]
    assert await house.desk.states(session) == ["queued", "queued"]


async def test_a_message_arrives_with_all_that_a_runner_needs_to_know(house: HandOver) -> None:
    session = await house.accept("hello", sender="ann")
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
    (row,) = rows(
        (await house.place(session)).inbound,
        "SELECT seq, kind, target, sender, sent_at, text, tainted, wakes FROM messages",
    )
    assert row == (1, "message", None, "ann", house.desk.clock.stamp(), "hello", 0, 1)


async def test_nothing_is_handed_over_twice(house: HandOver) -> None:
    session = await house.accept("one")
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
        # As after a crash between the hand-over and the note of it.
        await house.desk.database.write(
            lambda conn: conn.execute("UPDATE handovers SET state = 'received'")
        )
        inbox.ask(session)
        await house.has_handed(2)
    assert await house.messages(session) == [(1, "one")]


async def test_the_session_s_user_alone_may_read_it(house: HandOver) -> None:
    session = await house.accept()
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
    place = await house.place(session)
    found = {path.name: path.stat().st_mode & 0o777 for path in (place.inbox, place.inbound)}
    assert found == {"in": 0o700, "inbound.db": 0o600}


async def test_a_runner_is_rung_before_the_hand_over_is_noted(house: HandOver) -> None:
    session = await house.accept()
    before: list[list[str]] = []

    def written(session: SessionId) -> None:
        rows = house.desk.database.glance(
            lambda conn: conn.execute("SELECT state FROM handovers").fetchall()
        )
        before.append([row[0] for row in rows])
        house.written.append(session)

    async with house.inbox(written=written) as inbox:
        await inbox.refill(session)
        inbox.ask(session)
        await house.has_handed()
    assert (before, house.written, house.handed) == ([["received"]], [session], [session])


async def test_what_has_piled_up_is_handed_over_in_parts(house: HandOver) -> None:
    session = await house.accept("0")
    for number in range(1, BATCH + 1):
        await house.accept(f"{number}")
    async with house.inbox() as inbox:
        await inbox.refill(session)
        inbox.ask(session)
        await house.has_handed(2)
    assert await house.messages(session) == [
        (number + 1, f"{number}") for number in range(BATCH + 1)
    ]


async def test_a_wall_clock_that_is_set_back_delays_nothing(house: HandOver) -> None:
    session = await house.accept()
    house.desk.clock.set(house.desk.clock.now() - timedelta(days=1))
    async with house.inbox() as inbox:
        await inbox.refill(session)
        inbox.ask(session)
        await house.has_handed()


async def test_what_is_held_or_not_due_is_not_handed_over(house: HandOver) -> None:
    session = await house.accept("later", due_in=60)
    await house.accept("held", when="held")
    await house.accept("now")
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
        assert await house.messages(session) == [(3, "now")]
        house.desk.clock.advance(60)
        inbox.ask(session)
        await house.has_handed(2)
    assert await house.messages(session) == [(1, "later"), (3, "now")]


async def test_what_was_settled_meanwhile_is_said_with_the_next_hand_over(house: HandOver) -> None:
    session = await house.accept("one")
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
        await house.desk.intake.stop(session)
        await house.accept("two")
        inbox.ask(session)
        await house.has_handed(2)
    assert await house.settled(session) == [(1, 1)]


async def test_what_was_said_to_be_settled_is_never_taken_back(
    house: HandOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await house.accept("one")
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
        await house.accept("two")
        slow = Slow(monkeypatch, "_write")
        inbox.ask(session)  # asks what is settled, and dawdles
        await slow.reached.wait()
        await house.desk.intake.stop(session)
        await inbox.refill(session)
        slow.let.set()
        await house.has_handed(2)
    assert await house.settled(session) == [(1, 2)]


class Slow:
    """The next work of this name in another thread waits until it's let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.reached, self.let = asyncio.Event(), asyncio.Event()
        self._to_thread = asyncio.to_thread
        self._name = name
        monkeypatch.setattr(asyncio, "to_thread", self)

    async def __call__(self, work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if work.__name__ == self._name:
            self.reached.set()
            await self.let.wait()
        return await self._to_thread(work, *args, **options)


# Files that are locked, missing or broken


async def test_a_locked_file_delays_only_its_own_session(house: HandOver) -> None:
    locked, free = await house.accept("one"), await house.accept("two", thread="dinner")
    async with house.inbox() as inbox:
        await inbox.refill(locked)
        place = await house.place(locked)
        with closing(sqlite3.connect(place.inbound, isolation_level=None)) as conn:
            conn.execute("BEGIN EXCLUSIVE")
            inbox.ask(locked)
            inbox.ask(free)
            await house.has_handed()
            assert house.handed == [free]
            conn.execute("ROLLBACK")
        await house.has_handed(2)
        assert inbox.failures(locked) == 0
    assert await house.messages(locked) == [(1, "one")]


async def test_how_often_handing_over_has_failed_is_known(house: HandOver) -> None:
    session = await house.accept()
    async with house.inbox() as inbox:
        await inbox.refill(session)
        place = await house.place(session)
        with closing(sqlite3.connect(place.inbound, isolation_level=None)) as conn:
            conn.execute("BEGIN EXCLUSIVE")
            inbox.ask(session)
            async with asyncio.timeout(PATIENCE):
                while inbox.failures(session) < 2:
                    await asyncio.to_thread(int)
            conn.execute("ROLLBACK")
        await house.has_handed()
        assert inbox.failures(session) == 0


async def test_a_start_waits_for_a_locked_file(house: HandOver) -> None:
    session = await house.accept()
    async with house.inbox() as inbox:
        await inbox.refill(session)
        place = await house.place(session)
        with closing(sqlite3.connect(place.inbound, isolation_level=None)) as conn:
            conn.execute("BEGIN EXCLUSIVE")
            with pytest.raises(Transient, match="cannot be opened now"):
                await inbox.refill(session)
            conn.execute("ROLLBACK")


def gone(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    os.truncate(path, 0)


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def truncated(path: Path) -> None:
    os.truncate(path, 4096)


def damaged(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


def without_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("DROP TABLE settled")


def dead_journal(path: Path) -> None:
    """The file is gone, and what its writer left behind is not."""
    path.with_name("inbound.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" * 100)
    path.unlink()


BREAKAGES = [gone, empty, garbage, truncated, damaged, without_tables, dead_journal]


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.__name__)
async def test_a_broken_file_is_made_anew_at_the_next_hand_over(
    house: HandOver, breakage: Callable[[Path], None]
) -> None:
    session = await house.accept("one")
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
        breakage((await house.place(session)).inbound)
        await house.accept("two")
        inbox.ask(session)
        await house.has_handed(2)
    assert await house.messages(session) == [(1, "one"), (2, "two")]
    assert await house.desk.states(session) == ["queued", "queued"]


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.__name__)
async def test_a_broken_file_is_made_anew_before_a_start(
    house: HandOver, breakage: Callable[[Path], None]
) -> None:
    session = await house.accept("one")
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
        breakage((await house.place(session)).inbound)
        await refilled(inbox, session)
    assert await house.messages(session) == [(1, "one")]


async def refilled(inbox: Inbox, session: SessionId) -> None:
    """As the keeper does it: again, where it is told to."""
    with contextlib.suppress(Transient):
        return await inbox.refill(session)
    return await inbox.refill(session)


async def test_a_writer_that_died_in_the_middle_is_rolled_back(house: HandOver) -> None:
    session = await house.accept("one")
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
        place = await house.place(session)
        die_writing(place.inbound)
        await inbox.refill(session)
    assert await house.messages(session) == [(1, "one")]
    assert not place.inbound.with_name("inbound.db-journal").exists()


def die_writing(path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        conn = sqlite3.connect(path, isolation_level=None)
        conn.execute("PRAGMA cache_size = 1")
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("CREATE TABLE torn (page)")
        conn.executemany("INSERT INTO torn VALUES (?)", [("x" * 4000,)] * 50)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert path.with_name("inbound.db-journal").stat().st_size > 512


# Before a start


async def test_a_start_finds_everything_settled_said(house: HandOver) -> None:
    session = await house.accept("one")
    await house.accept("two")
    await house.accept("later", due_in=60)
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
        await house.desk.intake.stop(session)
        await inbox.refill(session)
    assert await house.settled(session) == [(1, 2)]


async def test_a_start_on_a_new_file_finds_what_earlier_turns_kept(
    house: HandOver, talk: Talk
) -> None:
    kept = talk.scribe.row("continuation", provider="demo", messages=["one"])
    await talk.take(kept)
    path = (await house.place(talk.session)).inbound
    async with house.inbox() as inbox:
        await inbox.refill(talk.session)
        # What outbound.db holds itself is not said twice.
        assert rows(path, "SELECT provider, body FROM history") == []
        await house.desk.database.write(lambda conn: store.new_file(conn, talk.session, 7))
        await inbox.refill(talk.session)
        await inbox.refill(talk.session)
    assert rows(path, "SELECT provider, body FROM history") == [("demo", '["one"]')]


async def test_a_start_finds_its_folders(house: HandOver) -> None:
    session = await house.accept()
    async with house.inbox() as inbox:
        await inbox.refill(session)
    place = await house.place(session)
    made = [place.inbox, place.outbox, place.work, place.home, place.line]
    assert [path.stat().st_mode & 0o777 for path in made] == [0o700] * 5


# In time


async def test_what_becomes_due_is_handed_over_then(house: HandOver) -> None:
    clock = SystemClock()
    house.desk.clock.set(clock.now())
    await house.accept(due_in=0.05)
    async with house.inbox(clock) as inbox:
        await timed(inbox, house.has_handed())


async def test_what_can_not_be_handed_over_hides_nothing_that_becomes_due(house: HandOver) -> None:
    clock = SystemClock()
    house.desk.clock.set(clock.now())
    stuck = await house.accept("stuck")
    async with house.inbox(clock) as inbox:
        await inbox.refill(stuck)
        place = await house.place(stuck)
        with closing(sqlite3.connect(place.inbound, isolation_level=None)) as conn:
            conn.execute("BEGIN EXCLUSIVE")
            soon = await house.accept("soon", thread="dinner", due_in=0.05)
            await timed(inbox, house.has_handed())
            conn.execute("ROLLBACK")
    assert house.handed == [soon]


async def test_what_is_accepted_for_soon_is_not_forgotten_over_what_comes_later(
    house: HandOver,
) -> None:
    clock = SystemClock()
    house.desk.clock.set(clock.now())
    await house.accept("much later", thread="other", due_in=3600)

    async def accept() -> None:
        inbox.ask(await house.accept(due_in=0.05))
        await house.has_handed()

    async with house.inbox(clock) as inbox:
        await timed(inbox, accept())


async def timed(inbox: Inbox, meanwhile: Any) -> None:
    """The inbox keeps time while this comes to its end, which must be long before its next look."""
    async with background() as tasks:
        tasks.create_task(inbox.keep_time(), name="keep-time")
        async with asyncio.timeout(5):
            await meanwhile


# Files


async def test_a_message_arrives_with_its_files(house: HandOver) -> None:
    session = await house.accept(files=[await house.desk.upload("a.txt", b"hello")])
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
    place = await house.place(session)
    ((message, files),) = rows(place.inbound, "SELECT id, files FROM messages")
    assert json.loads(files) == [{"name": "a.txt", "type": "text/plain", "size": 5}]
    assert (place.files / message / "a.txt").read_bytes() == b"hello"


async def test_files_that_are_missing_come_again_before_a_start(house: HandOver) -> None:
    session = await house.accept(files=[await house.desk.upload()])
    place = await house.place(session)
    async with house.inbox() as inbox:
        inbox.ask(session)
        await house.has_handed()
        for gone in (place.files, place.inbox):
            shutil.rmtree(gone)
            await inbox.refill(session)
            assert len(list(place.files.glob("*/a.txt"))) == 1
