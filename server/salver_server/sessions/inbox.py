"""Handing over: accepted messages into inbound.db, at once when due, each exactly once.

Only this file writes inbound.db. Handing over is idempotent by id and may be repeated at any time; a
file that is missing or broken is made anew from salver.db; one that is locked delays its session only.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from importlib import resources
from pathlib import Path

from salver_server.clock import LONGEST_SLEEP, Clock, Stamp, moment, stamp
from salver_server.errors import Transient
from salver_server.ids import SessionId
from salver_server.kit.failpoint import failpoint
from salver_server.kit.rounds import Rounds
from salver_server.runtimes import Identity
from salver_server.sessions import queue, store
from salver_server.sessions.folders import Folders, folders, give, make
from salver_server.sessions.incoming import lay
from salver_server.settings import Places
from salver_server.store import Database

PATIENCE = 0.2
"""Seconds that a hand-over waits for a lock before it makes room for other sessions and tries again."""
BATCH = 100
"""Messages that one hand-over takes along."""


class Inbox:
    def __init__(
        self,
        *,
        database: Database,
        places: Places,
        identity: Identity,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        written: Callable[[SessionId], None],
        handed: Callable[[SessionId], None],
        make_way: Callable[[SessionId], Awaitable[None]],
    ) -> None:
        """Told of each session that gets something new: `make_way` returns when it may get it, `written`
        comes when it lies in inbound.db, `handed` when that is noted in salver.db.
        """
        self._database = database
        self._places = places
        self._identity = identity
        self._clock = clock
        self._written = written
        self._handed = handed
        self._make_way = make_way
        self._awaited: Stamp | None = None
        """When `keep_time` looks next, at the latest."""
        self._sooner = asyncio.Event()
        self._rounds = Rounds("inbox.hand-over", self._hand_over, tasks)

    def ask(self, session: SessionId) -> None:
        """Hand over what waits for this session, soon."""
        self._rounds.ask(session)

    def failures(self, session: SessionId) -> int:
        """How often in a row handing over to this session has failed."""
        return self._rounds.failures(session)

    async def keep_time(self) -> None:
        """Hand over what becomes due, exactly then; runs until cancelled."""
        while True:
            now = stamp(self._clock.now())
            self._sooner.clear()
            for session in await self._database.read(partial(queue.overlooked, now=now)):
                await self._database.write(partial(queue.release_next, session=session, now=now))
            for session in await self._database.read(partial(store.sessions_due, now=now)):
                self._rounds.ask(session)
            # Only what comes later: what is due and cannot be handed over must hide nothing else.
            due = await self._database.read(partial(store.next_due, after=now))
            self._awaited = due
            wait = LONGEST_SLEEP
            if due is not None:
                wait = min(wait, (moment(due) - self._clock.now()).total_seconds())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._sooner.wait()

    async def _hand_over(self, session: SessionId) -> None:
        now = stamp(self._clock.now())
        row, rows, settled, later = self._database.glance(
            lambda conn: (
                store.session(conn, session),
                store.due(conn, session, now, most=BATCH),
                store.settled(conn, session),
                store.due_later(conn, session, after=now),
            )
        )
        if later is not None and (self._awaited is None or later < self._awaited):
            self._sooner.set()
        if row is None or not rows:
            return
        await self._make_way(session)
        place = folders(self._places, session, row.agent)
        failpoint("inbox.before-hand-over")
        try:
            await asyncio.to_thread(self._write, place, rows, settled)
        except Missing:
            await asyncio.to_thread(place.inbound.unlink, missing_ok=True)
            await self.refill(session)
            raise Transient("inbound.db had to be made anew", retry_after=0) from None
        failpoint("inbox.after-hand-over")
        self._written(session)
        seqs = [handover.seq for handover in rows]
        await self._database.write(lambda conn: store.mark_queued(conn, session, seqs, now))
        failpoint("inbox.queued")
        self._handed(session)
        if len(rows) == BATCH:
            self.ask(session)

    def _write(
        self, place: Folders, rows: list[store.Handover], settled: list[tuple[int, int]]
    ) -> None:
        if not place.inbound.exists():
            raise Missing
        lay(rows, self._places, place, self._identity)
        with _transaction(place.inbound) as conn:
            _insert(conn, rows)
            _settle(conn, settled)
            failpoint("inbox.in-hand-over")

    async def refill(self, session: SessionId) -> None:
        """Make inbound.db ready for a start: healed or new, with everything settled said.

        Raises `Transient` while it is locked.
        """
        row = await self._database.read(lambda conn: store.session(conn, session))
        assert row is not None
        place = folders(self._places, session, row.agent)
        healthy = await asyncio.to_thread(_healthy, place.inbound)
        rows, settled, history = await self._database.read(
            lambda conn: (
                # A whole file holds them all; only what comes with those still owed may be missing.
                store.pending(conn, session) if healthy else store.handed_over(conn, session),
                store.settled(conn, session),
                store.history(conn, session, before=row.epoch),
            )
        )
        try:
            await asyncio.to_thread(self._refill, place, rows, settled, history, whole=healthy)
        except Missing:
            await asyncio.to_thread(place.inbound.unlink, missing_ok=True)
            raise Transient("inbound.db must be made anew", retry_after=0) from None

    def _refill(
        self,
        place: Folders,
        rows: list[store.Handover],
        settled: list[tuple[int, int]],
        history: list[tuple[str, str]],
        *,
        whole: bool,
    ) -> None:
        make(place, self._identity)
        lay(rows, self._places, place, self._identity)
        if not whole:
            self._make(place.inbound, rows)
        with _transaction(place.inbound) as conn:
            _settle(conn, settled)
            kept = conn.execute("SELECT provider, body FROM history ORDER BY seq").fetchall()
            if kept != history:
                conn.execute("DELETE FROM history")
                conn.executemany("INSERT INTO history (provider, body) VALUES (?, ?)", history)

    def _make(self, path: Path, rows: list[store.Handover]) -> None:
        """A new file beside the old one, then in its place: never half a file."""
        fresh = path.with_name("inbound.db.new")
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        give(fresh, self._identity)
        with _transaction(fresh) as conn:
            script = (
                resources.files("salver_server.sessions")
                .joinpath("inbound.sql")
                .read_text(encoding="utf-8")
            )
            for statement in script.split(";"):
                if statement.strip():
                    conn.execute(statement)
            _insert(conn, rows)
        path.with_name("inbound.db-journal").unlink(missing_ok=True)
        fresh.replace(path)


TABLES = 3
"""How many tables a whole inbound.db has."""


def _healthy(path: Path) -> bool:
    """Whether the file is whole; opening it for writing also rolls a dead writer's journal back."""
    if not path.exists():
        return False
    try:
        with contextlib.closing(_connect(path)) as conn:
            found = conn.execute(
                "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
            ).fetchone()
    except sqlite3.OperationalError as exc:
        raise Transient(f"inbound.db cannot be opened now: {exc}") from exc
    except sqlite3.DatabaseError:
        return False
    return found[0] == TABLES


class Missing(Exception):
    """There is no inbound.db to write into, or a broken one."""


BROKEN = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What SQLite says of a file without our tables, a damaged one, and one that is no database."""


def _connect(path: Path) -> sqlite3.Connection:
    # `rw`, never `rwc`: a file that vanished must be missed, not made anew without its tables.
    conn = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=PATIENCE, isolation_level=None)
    conn.execute("PRAGMA synchronous=FULL")
    return conn


@contextlib.contextmanager
def _transaction(path: Path) -> Generator[sqlite3.Connection]:
    try:
        with contextlib.closing(_connect(path)) as conn:
            conn.execute("BEGIN IMMEDIATE")
            yield conn
            conn.execute("COMMIT")
    except sqlite3.DatabaseError as exc:
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF in BROKEN:
            raise Missing from exc
        raise Transient(f"inbound.db cannot be written now: {exc}") from exc


def _insert(conn: sqlite3.Connection, rows: list[store.Handover]) -> None:
    conn.executemany(
        "INSERT OR IGNORE INTO messages (seq, id, kind, target, sender, sent_at, text, quoted, files, tainted, wakes)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                r.seq,
                r.message,
                r.kind,
                r.target,
                r.sender,
                r.sent_at,
                r.text,
                r.quoted,
                r.files,
                r.tainted,
                r.wakes,
            )
            for r in rows
        ],
    )


def _settle(conn: sqlite3.Connection, ranges: list[tuple[int, int]]) -> None:
    # What is settled stays so: who asked earlier and writes later must not take anything back.
    conn.executemany(
        "INSERT INTO settled (first, last) VALUES (?, ?)"
        " ON CONFLICT (first) DO UPDATE SET last = max(last, excluded.last)",
        ranges,
    )
    conn.execute(
        "DELETE FROM settled WHERE EXISTS (SELECT 1 FROM settled AS wider"
        " WHERE wider.first < settled.first AND wider.last >= settled.last)"
    )
