import asyncio
import contextlib
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from salver_server.errors import Broken, Transient
from salver_server.kit.background import background
from salver_server.sessions import reader
from salver_server.sessions.reading import (
    CHILDREN,
    MOST_EXTRA,
    PATIENCE,
    STRIKES,
    Page,
    Reading,
    Torn,
    open_reading,
)
from tests.fakes.channel import PATIENCE as LONG
from tests.server.sessions.conftest import Scribe
from tests.server.sessions.outbound import EPOCH, Outbound


@pytest.fixture
async def reading() -> AsyncIterator[Reading]:
    async with open_reading() as reading:
        yield reading


@pytest.fixture
def out(quick_path: Path) -> Outbound:
    """An honest file with the two rows of a turn in it."""
    scribe = Scribe()
    return Outbound(quick_path / "out").make(scribe.claim(1), scribe.reply("hi", 1))


async def read(reading: Reading, out: Outbound, *, after: int = 0) -> Page:
    return await reading.read(out.folder, epoch=EPOCH, after=after)


async def refused(reading: Reading, out: Outbound, *, after: int = 0) -> str:
    """Why this file is not trusted."""
    with pytest.raises(Broken) as broken:
        await read(reading, out, after=after)
    return str(broken.value)


# Honest files


async def test_rows_are_found_as_they_were_written(reading: Reading, out: Outbound) -> None:
    page = await read(reading, out)
    claim, reply = page.rows
    assert (page.found, page.more, page.generation) == ("read", False, 1)
    assert (claim.seq, claim.kind, claim.message, claim.turn) == (1, "claim", 1, 1)
    assert (reply.seq, reply.kind, reply.body["text"]) == (2, "reply", "hi")


async def test_only_what_is_new_is_read(reading: Reading, out: Outbound) -> None:
    assert [row.seq for row in (await read(reading, out, after=1)).rows] == [2]
    assert (await read(reading, out, after=2)).rows == ()


async def test_before_there_is_a_file_there_is_nothing(reading: Reading, quick_path: Path) -> None:
    out = Outbound(quick_path)
    assert (await read(reading, out)).found == "absent"
    out.path.touch()
    assert (await read(reading, out)).found == "absent"


async def test_a_folder_that_is_not_there_holds_nothing(reading: Reading, quick_path: Path) -> None:
    assert (await read(reading, Outbound(quick_path / "nowhere"))).found == "absent"


async def test_a_long_file_comes_in_pages(reading: Reading, quick_path: Path) -> None:
    scribe = Scribe()
    rows = [scribe.send(f"{n}") for n in range(reader.MOST_ROWS + 7)]
    out = Outbound(quick_path / "out").make(*rows)
    first = await read(reading, out)
    assert (len(first.rows), first.more) == (reader.MOST_ROWS, True)
    second = await read(reading, out, after=first.rows[-1].seq)
    assert (len(second.rows), second.more) == (7, False)


async def test_texts_of_all_the_world_are_read_as_they_were_written(
    reading: Reading, quick_path: Path
) -> None:
    text = "話して 👋\n\u2028\0 \x7f </script>"
    out = Outbound(quick_path / "out").make(Scribe().send(text))
    assert (await read(reading, out)).rows[0].body == {"text": text}


async def test_a_file_that_grows_while_it_is_watched_is_read_on(
    reading: Reading, out: Outbound
) -> None:
    scribe = Scribe(seq=2)
    for number in range(20):
        out.write(scribe.send(f"{number}"))
        page = await read(reading, out, after=scribe.seq - 1)
        assert [row.body["text"] for row in page.rows] == [f"{number}"]


async def test_while_its_runner_writes_a_file_is_locked_for_a_moment(
    reading: Reading, out: Outbound
) -> None:
    with closing(sqlite3.connect(out.path, isolation_level=None)) as conn:
        conn.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Transient, match="locked"):
            await read(reading, out)
        conn.execute("ROLLBACK")
    assert len((await read(reading, out)).rows) == 2


async def test_the_journal_of_a_dead_writer_is_left_to_be_healed(
    reading: Reading, out: Outbound
) -> None:
    out.die_writing()
    before = out.path.read_bytes(), out.journal.read_bytes()
    with pytest.raises(Torn):
        await read(reading, out)
    assert (out.path.read_bytes(), out.journal.read_bytes()) == before
    out.do("SELECT count(*) FROM log")
    assert len((await read(reading, out)).rows) == 2


async def test_reading_leaves_the_file_as_it_is(reading: Reading, out: Outbound) -> None:
    before = out.path.read_bytes(), out.path.stat()
    await read(reading, out)
    after = out.path.read_bytes(), out.path.stat()
    assert (before[0], before[1].st_mtime_ns) == (after[0], after[1].st_mtime_ns)
    assert names(out.folder) == ["outbound.db"]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []


async def test_many_files_are_read_at_once(reading: Reading, quick_path: Path) -> None:
    outs = [
        Outbound(quick_path / f"{number}").make(Scribe().send(f"{number}")) for number in range(20)
    ]
    pages = await asyncio.gather(*(read(reading, out) for out in outs))
    assert [page.rows[0].body["text"] for page in pages] == [f"{n}" for n in range(20)]


# Hostile files


def fifo(out: Outbound) -> None:
    out.path.unlink()
    os.mkfifo(out.path)


def symlink(out: Outbound) -> None:
    elsewhere = out.folder.with_name("elsewhere.db")
    out.path.rename(elsewhere)
    out.path.symlink_to(elsewhere)


def hard_link(out: Outbound) -> None:
    out.folder.with_name("elsewhere.db").hardlink_to(out.path)


def directory(out: Outbound) -> None:
    out.path.unlink()
    out.path.mkdir()


def endless_view(out: Outbound) -> None:
    columns = "n, 1, 1, 'send', NULL, '', '{}'"
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)"
    out.do("DROP TABLE log", f"CREATE VIEW log AS {endless} SELECT {columns} FROM c")


def endless_view_in_disguise(out: Outbound) -> None:
    """The text of the table, over a view's root."""
    endless_view(out)
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.executescript(Path(reader.__file__).with_name("outbound.sql").read_text())
        sql = conn.execute("SELECT sql FROM sqlite_schema WHERE name = 'log'").fetchone()[0]
    with out.open() as conn:
        conn.execute("PRAGMA writable_schema = ON")
        conn.execute("UPDATE sqlite_schema SET type = 'table', sql = ? WHERE name = 'log'", (sql,))


def other_columns(out: Outbound) -> None:
    out.do("ALTER TABLE log ADD COLUMN more TEXT")


def other_table(out: Outbound) -> None:
    out.do("CREATE TABLE more (a)")


def trigger(out: Outbound) -> None:
    out.do("CREATE TRIGGER t AFTER INSERT ON log BEGIN SELECT 1; END")


def virtual_table(out: Outbound) -> None:
    out.do("CREATE VIRTUAL TABLE more USING fts5(a)")


def no_owner(out: Outbound) -> None:
    out.do("DELETE FROM owner")


def other_epoch(out: Outbound) -> None:
    out.do("UPDATE owner SET epoch = epoch + 1")


def rows_taken_back(out: Outbound) -> None:
    out.do("DELETE FROM log")


def huge_value(out: Outbound) -> None:
    out.do(
        "INSERT INTO log (turn, attempt, kind, at, body) VALUES"
        f" (1, 1, 'send', '', replace(hex(zeroblob({reader.LONGEST_VALUE})), '00', 'xx'))"
    )


def truncated(out: Outbound) -> None:
    os.truncate(out.path, out.path.stat().st_size - 4096)


def garbage(out: Outbound) -> None:
    out.path.write_bytes(b"not a database at all" * 1000)


def zeros(out: Outbound) -> None:
    out.path.write_bytes(bytes(8192))


def damaged(out: Outbound) -> None:
    whole = bytearray(out.path.read_bytes())
    whole[4096:] = b"\xff" * (len(whole) - 4096)
    out.path.write_bytes(whole)


def wal_mode(out: Outbound) -> None:
    out.do("PRAGMA journal_mode = WAL")


def wal_beside_it(out: Outbound) -> None:
    out.path.with_name("outbound.db-wal").touch()


def shm_beside_it(out: Outbound) -> None:
    out.path.with_name("outbound.db-shm").touch()


def journal_is_a_link(out: Outbound) -> None:
    out.journal.symlink_to("/etc/passwd")


def journal_is_a_fifo(out: Outbound) -> None:
    os.mkfifo(out.journal)


def folder_is_a_link(out: Outbound) -> None:
    out.folder.rename(out.folder.with_name("elsewhere"))
    out.folder.symlink_to(out.folder.with_name("elsewhere"))


def folder_is_a_file(out: Outbound) -> None:
    out.path.unlink()
    out.folder.rmdir()
    out.folder.touch()


def no_utf8(out: Outbound) -> None:
    out.do("UPDATE log SET body = CAST(x'7bff7d' AS TEXT)")


def utf16(out: Outbound) -> None:
    out.path.unlink()
    out.do("PRAGMA encoding = 'UTF-16'", "CREATE TABLE log (seq)")


def no_json(out: Outbound) -> None:
    out.do("UPDATE log SET body = '{'")


def no_object(out: Outbound) -> None:
    out.do("UPDATE log SET body = '[]'")


def too_deep(out: Outbound) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    out.do(f"UPDATE log SET body = '{deep}'")


def endless_number(out: Outbound) -> None:
    out.do(f"UPDATE log SET body = '{{\"text\": {'9' * 100_000}}}'")


@dataclass(frozen=True, kw_only=True)
class Case:
    attack: Callable[[Outbound], None]
    says: str


HOSTILE = [
    Case(attack=fifo, says="no regular file"),
    Case(attack=symlink, says="no regular file"),
    Case(attack=hard_link, says="has 2 names"),
    Case(attack=directory, says="no regular file"),
    Case(attack=endless_view, says="tables are not ours"),
    Case(attack=endless_view_in_disguise, says="tables are not ours|cannot be read"),
    Case(attack=other_columns, says="tables are not ours"),
    Case(attack=other_table, says="tables are not ours"),
    Case(attack=trigger, says="tables are not ours"),
    Case(attack=virtual_table, says="tables are not ours"),
    Case(attack=no_owner, says="another file than"),
    Case(attack=other_epoch, says="another file than"),
    Case(attack=huge_value, says="too big"),
    Case(attack=truncated, says="malformed"),
    Case(attack=garbage, says="not a database"),
    Case(attack=zeros, says="not a database"),
    Case(attack=damaged, says="malformed|tables are not ours"),
    Case(attack=wal_mode, says="cannot be read"),
    Case(attack=wal_beside_it, says="there is an outbound.db-wal"),
    Case(attack=shm_beside_it, says="there is an outbound.db-shm"),
    Case(attack=journal_is_a_link, says="outbound.db-journal is no regular file"),
    Case(attack=journal_is_a_fifo, says="outbound.db-journal is no regular file"),
    Case(attack=folder_is_a_link, says="no folder"),
    Case(attack=folder_is_a_file, says="no folder"),
    Case(attack=no_utf8, says="cannot be read"),
    Case(attack=utf16, says="tables are not ours"),
    Case(attack=no_json, says="holds no JSON"),
    Case(attack=no_object, says="holds no JSON object"),
    Case(attack=too_deep, says="holds no JSON"),
    Case(attack=endless_number, says="holds no JSON"),
]


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.attack.__name__)
async def test_a_file_that_no_runner_of_ours_writes_is_refused_at_once(
    reading: Reading, out: Outbound, case: Case
) -> None:
    case.attack(out)
    before = names(out.folder)
    why = await refused(reading, out)
    assert any(words in why for words in case.says.split("|")), why
    assert names(out.folder) == before


async def test_rows_that_were_read_and_are_gone_are_missed(reading: Reading, out: Outbound) -> None:
    rows_taken_back(out)
    assert await refused(reading, out, after=2) == "it ends at row 0, but row 2 was read before"


@dataclass(frozen=True, kw_only=True)
class Column:
    id: str
    turn: Any = 1
    attempt: Any = 1
    kind: Any = "send"
    message: Any = None
    at: Any = ""
    body: Any = "{}"


SMUGGLED = [
    Column(id="turn-text", turn="one"),
    Column(id="turn-null", turn=None),
    Column(id="turn-half", turn=0.5),
    Column(id="turn-bytes", turn=b"\0"),
    Column(id="attempt-text", attempt="one"),
    Column(id="kind-number", kind=1),
    Column(id="kind-null", kind=None),
    Column(id="message-text", message="one"),
    Column(id="message-half", message=1.5),
    Column(id="message-infinite", message=float("inf")),
    Column(id="at-number", at=1),
    Column(id="body-null", body=None),
    Column(id="body-number", body=1),
    Column(id="body-bytes", body=b"{}"),
]


@pytest.mark.parametrize("case", SMUGGLED, ids=lambda case: case.id)
async def test_a_column_of_another_type_is_refused(
    reading: Reading, out: Outbound, case: Column
) -> None:
    out.smuggle(1, case.turn, case.attempt, case.kind, case.message, case.at, case.body)
    assert await refused(reading, out) == "row 1 has columns of other types"


async def test_what_is_smuggled_in_with_the_right_types_is_a_row_like_any_other(
    reading: Reading, out: Outbound
) -> None:
    out.smuggle(1, 1, 1, "order", 2**63 - 1, "", "{}")
    (row,) = (await read(reading, out)).rows
    assert (row.kind, row.message) == ("order", 2**63 - 1)


# Read here, to meet the moment: a platform's rim is patched, so that something happens in between


def swapped_for(out: Outbound) -> Outbound:
    """Another file in the place of this one."""
    other = Outbound(out.folder.with_name("other")).make(Scribe().send("other"))
    other.path.replace(out.path)
    return out


def request(out: Outbound) -> dict[str, Any]:
    schema = [list(row) for row in _schema()]
    return {"folder": str(out.folder), "epoch": EPOCH, "after": 0, "schema": schema}


def _schema() -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.executescript(Path(reader.__file__).with_name("outbound.sql").read_text())
        return conn.execute(reader.SCHEMA).fetchall()


def test_a_file_that_is_exchanged_before_it_is_opened_is_refused(
    out: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    asked = request(out)

    def swapping(*args: Any, **options: Any) -> sqlite3.Connection:
        monkeypatch.undo()
        swapped_for(out)
        return connect(*args, **options)

    monkeypatch.setattr(sqlite3, "connect", swapping)
    with pytest.raises(reader.Hostile, match="exchanged while it was read"):
        reader.read(asked)


def test_a_file_that_is_exchanged_after_it_was_opened_is_refused(out: Outbound) -> None:
    class Swapping(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            if key == "epoch":  # asked for when the tables have been read
                swapped_for(out)
            return super().__getitem__(key)

    with pytest.raises(reader.Hostile, match="has 0 names"):
        reader.read(Swapping(request(out)))


def test_a_folder_that_is_exchanged_is_of_no_avail(
    out: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    asked = request(out)

    def swapping(*args: Any, **options: Any) -> sqlite3.Connection:
        monkeypatch.undo()
        out.folder.rename(out.folder.with_name("aside"))
        Outbound(out.folder).make(Scribe().send("other"))
        return connect(*args, **options)

    monkeypatch.setattr(sqlite3, "connect", swapping)
    assert reader.read(asked)["rows"][0][3] == "claim"


# Readers that hang or die


def readers() -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        # One that has ended and is not yet collected has no command line.
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            if "reader.py" in child.cmdline()[-1]:
                found.append(child)
    return found


async def kept(reading: Reading, *outs: Outbound) -> list[psutil.Process]:
    """A reader for each of these files: one that was slow to start, on a busy machine, is not kept."""
    while len(found := readers()) < len(outs):
        await asyncio.gather(*(read(reading, out) for out in outs))
    return found


async def test_a_reader_that_dies_costs_nothing_but_another_look(
    reading: Reading, out: Outbound
) -> None:
    for child in await kept(reading, out):
        child.kill()
    with pytest.raises(Transient, match="could not be read in time"):
        await read(reading, out)
    assert len((await read(reading, out)).rows) == 2


async def test_a_reader_that_hangs_is_killed(
    reading: Reading, out: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    (child,) = await kept(reading, out)
    child.suspend()
    timeout = asyncio.timeout

    def at_once(_: float) -> asyncio.Timeout:
        return timeout(0.01)

    monkeypatch.setattr(asyncio, "timeout", at_once)
    with pytest.raises(Transient, match="could not be read in time"):
        await read(reading, out)
    monkeypatch.undo()
    assert not child.is_running()
    assert len((await read(reading, out)).rows) == 2


async def test_whoever_is_held_up_by_slow_readers_gets_another_one(
    reading: Reading, quick_path: Path
) -> None:
    outs = [Outbound(quick_path / f"{number}").make() for number in range(CHILDREN + 1)]
    stuck = await kept(reading, *outs[:CHILDREN])
    for child in stuck:
        child.suspend()
    async with asyncio.TaskGroup() as tasks:
        held = [tasks.create_task(read(reading, out)) for out in outs[:CHILDREN]]
        await asyncio.sleep(0)
        await read(reading, outs[-1])
        assert not any(it.done() for it in held)
        for child in stuck:
            child.resume()
    # Those that were slow have gone: as many are kept as before.
    assert len(await kept(reading, *outs[:CHILDREN])) == CHILDREN


async def test_however_many_wait_no_further_reader_is_started(
    reading: Reading, quick_path: Path
) -> None:
    out = Outbound(quick_path / "out").make()
    await asyncio.gather(*(read(reading, out) for _ in range(500)))
    assert len(readers()) <= CHILDREN


async def test_a_file_over_which_every_reader_dies_is_not_trusted(
    reading: Reading, out: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    for _ in range(STRIKES - 1):
        with pytest.raises(Transient):
            await read(reading, out)
    assert (
        await refused(reading, out)
        == "3 times, reading it took longer than 2 s or ended the reader"
    )
    monkeypatch.undo()
    assert len((await read(reading, out)).rows) == 2


async def test_what_readers_died_of_is_not_held_against_the_next_file(
    reading: Reading, out: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    for epoch in (EPOCH, EPOCH + 1):
        for _ in range(STRIKES - 1):
            with pytest.raises(Transient):
                await reading.read(out.folder, epoch=epoch, after=0)


async def test_a_read_that_found_every_reader_taken_takes_the_first_that_is_free(
    reading: Reading, out: Outbound, quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[Reading.__module__], "DEADLINE", LONG)
    hung = quick_path / "reader.py"
    hung.write_text("#!/bin/sh\nwhile read request; do :; done\n")
    hung.chmod(0o700)

    async def hang() -> None:
        with contextlib.suppress(Transient):
            await read(reading, out)

    async with background() as tasks:
        with monkeypatch.context() as hanging:
            hanging.setattr(sys, "executable", str(hung))
            for number in range(CHILDREN + MOST_EXTRA):
                tasks.create_task(hang(), name=f"hangs({number})")
            while len(readers()) < CHILDREN + MOST_EXTRA:  # noqa: ASYNC110 the system tells nobody
                await asyncio.sleep(0.01)
        waiting = tasks.create_task(read(reading, out), name="waits")
        await asyncio.sleep(PATIENCE * 2)
        # Not one of those that are kept, which were started first.
        max(readers(), key=lambda process: process.pid).kill()
        assert len((await waiting).rows) == 2


async def test_closing_ends_every_reader(quick_path: Path) -> None:
    out = Outbound(quick_path / "out").make()
    async with open_reading() as reading:
        await asyncio.gather(*(read(reading, out) for _ in range(5)))
        assert 0 < len(readers()) <= CHILDREN
    assert readers() == []
