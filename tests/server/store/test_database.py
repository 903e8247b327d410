import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection

import pytest

from salver_server.kit.reserve import Reserve
from salver_server.store import Database, open_database


@pytest.fixture
async def notes(database: Database) -> Database:
    """A database with a table to write into."""
    await database.write(
        lambda conn: conn.execute("CREATE TABLE notes (text TEXT NOT NULL UNIQUE) STRICT")
    )
    return database


def note(text: str) -> "Note":
    return Note(text)


class Note:
    """A job that writes down one text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, conn: Connection) -> str:
        conn.execute("INSERT INTO notes (text) VALUES (?)", (self._text,))
        return self._text


def modes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


def texts(conn: Connection) -> list[str]:
    return [row[0] for row in conn.execute("SELECT text FROM notes ORDER BY rowid")]


class Busy:
    """Keeps the writer busy until it's let go, so that jobs gather behind it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begun, self._let = threading.Event(), threading.Event()

    async def __aenter__(self) -> None:
        self._job = asyncio.get_running_loop().create_task(self._database.write(self._hold))
        await asyncio.to_thread(self._begun.wait)

    async def __aexit__(self, *_: object) -> None:
        self._let.set()
        await self._job

    def _hold(self, _: Connection) -> None:
        self._begun.set()
        self._let.wait()


async def together(database: Database, *jobs: Note) -> list[str | BaseException]:
    """The outcomes of jobs that share one commit."""
    async with Busy(database):
        writing = asyncio.gather(*map(database.write, jobs), return_exceptions=True)
        await asyncio.sleep(0)
    return await writing


async def test_a_write_that_has_returned_is_on_disk(tmp_path: Path) -> None:
    async with open_database(tmp_path / "salver.db") as database:
        await database.write(lambda conn: conn.execute("CREATE TABLE notes (text TEXT)"))
        assert await database.write(note("kept")) == "kept"
        with closing(sqlite3.connect(tmp_path / "salver.db")) as other:
            assert texts(other) == ["kept"]


async def test_reading_sees_every_write_that_has_returned(notes: Database) -> None:
    for number in range(10):
        await notes.write(note(f"{number}"))
        assert len(await notes.read(texts)) == number + 1


async def test_a_glance_sees_every_write_that_has_returned(notes: Database) -> None:
    for number in range(10):
        await notes.write(note(f"{number}"))
        assert len(notes.glance(texts)) == number + 1


async def test_a_glance_can_not_write(notes: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        notes.glance(note("scribble"))
    assert notes.glance(texts) == []


async def test_a_reader_can_not_write(notes: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await notes.read(note("scribble"))
    assert await notes.read(texts) == []


async def test_jobs_that_wait_together_share_one_commit(notes: Database) -> None:
    statements: list[str] = []
    await notes.write(lambda conn: conn.set_trace_callback(statements.append))
    statements.clear()
    await together(notes, *(note(f"{number}") for number in range(20)))
    assert len(await notes.read(texts)) == 20
    # One is the commit of the job that they waited behind.
    assert statements.count("COMMIT") == 2


async def test_a_job_that_fails_takes_none_of_its_neighbours_along(notes: Database) -> None:
    outcomes = await together(notes, note("one"), note("two"), note("two"), note("three"))
    assert [str(outcome) for outcome in outcomes] == [
        "one",
        "two",
        "UNIQUE constraint failed: notes.text",
        "three",
    ]
    assert await notes.read(texts) == ["one", "two", "three"]


async def test_nothing_of_a_job_that_fails_is_kept(notes: Database) -> None:
    def half(conn: Connection) -> None:
        note("half")(conn)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await notes.write(half)
    assert await notes.read(texts) == []


async def test_a_full_disk_is_said_to_every_job_of_the_group(notes: Database) -> None:
    await notes.write(note("before"))

    def fill(conn: Connection) -> None:
        pages = conn.execute("PRAGMA page_count").fetchone()[0]
        conn.execute(f"PRAGMA max_page_count = {pages}")

    await notes.write(fill)
    outcomes = await together(notes, note("small"), note("x" * 100_000), note("late"))
    assert [str(outcome) for outcome in outcomes] == ["database or disk is full"] * 3
    assert await notes.read(texts) == ["before"]


async def test_writing_goes_on_once_there_is_room_again(notes: Database) -> None:
    def fill(conn: Connection) -> None:
        conn.execute("PRAGMA max_page_count = 1")

    def make_room(conn: Connection) -> None:
        conn.execute("PRAGMA max_page_count = 100000")

    await notes.write(fill)
    with pytest.raises(sqlite3.OperationalError):
        await notes.write(note("x" * 100_000))
    await notes.write(make_room)
    await notes.write(note("x" * 100_000))
    assert len(await notes.read(texts)) == 1


async def test_cancelling_whoever_waits_for_a_job_does_not_undo_it(notes: Database) -> None:
    async with Busy(notes):
        leaving = asyncio.get_running_loop().create_task(notes.write(note("left")))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    await notes.write(note("after"))
    assert await notes.read(texts) == ["left", "after"]


async def test_closing_finishes_what_was_handed_in(tmp_path: Path) -> None:
    path = tmp_path / "salver.db"
    async with open_database(path) as database:
        await database.write(lambda conn: conn.execute("CREATE TABLE notes (text TEXT)"))
        async with Busy(database):
            writing = asyncio.gather(*(database.write(note(f"{n}")) for n in range(500)))
            await asyncio.sleep(0)
    assert len(await writing) == 500
    with closing(sqlite3.connect(path)) as other:
        assert len(texts(other)) == 500


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    async with open_database(tmp_path / "salver.db") as database:
        await database.write(lambda conn: conn.execute("CREATE TABLE notes (text TEXT)"))
        expected = dict.fromkeys(("salver.db", "salver.db-wal", "salver.db-shm"), 0o600)
        assert modes(tmp_path) == expected


async def test_a_reference_to_nothing_is_refused(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await database.write(
            lambda conn: conn.execute(
                "INSERT INTO wirings (chat, agent, mode, engagement)"
                " VALUES ('nowhere', 'nobody', 'shared', 'every-message')"
            )
        )


class Room(Reserve):
    """Space for so many more pages, put aside within the database's own limit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, size=0)
        self.conn: Connection | None = None
        self.spent = 0

    def fill(self, conn: Connection) -> None:
        self.conn = conn
        pages = conn.execute("PRAGMA page_count").fetchone()[0]
        conn.execute(f"PRAGMA max_page_count = {pages}")

    def spend(self) -> bool:
        self.spent += 1
        if self.conn is not None:
            self.conn.execute("PRAGMA max_page_count = 1000000")
        return self.spent == 1


async def test_a_full_disk_is_outlived_as_long_as_there_is_a_reserve(quick_path: Path) -> None:
    room = Room(quick_path / "reserve")
    async with open_database(quick_path / "salver.db", reserve=room) as notes:
        await notes.write(lambda conn: conn.execute("CREATE TABLE notes (text TEXT UNIQUE)"))
        await notes.write(room.fill)
        big = "x" * 100_000
        outcomes = await together(notes, note("one"), note(big), note("one"), note("two"))
        assert [str(outcome) for outcome in outcomes] == [
            "one",
            big,
            "UNIQUE constraint failed: notes.text",
            "two",
        ]
        assert (await notes.read(texts), room.spent) == (["one", big, "two"], 1)
        await notes.write(room.fill)
        with pytest.raises(sqlite3.OperationalError, match="disk is full"):
            await notes.write(note("y" * 100_000))


async def test_jobs_that_nobody_waits_for_are_done_in_their_turn(notes: Database) -> None:
    async with Busy(notes):
        first, twice = notes.post(note("first")), notes.post(note("first"))
        second = asyncio.get_running_loop().create_task(notes.write(note("second")))
        await asyncio.sleep(0)
        assert not first.done()
    await second
    assert await notes.read(texts) == ["first", "second"]
    assert isinstance(twice.exception(), sqlite3.IntegrityError)
