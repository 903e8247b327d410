"""salver.db: one writer thread with group commit, readers beside it.

A write is a function that gets the connection and must not commit. Jobs that wait at the same time
share one commit; each stands behind a savepoint of its own, so that one that fails takes nobody along.
A write that has returned is on disk.
"""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from salver_server.kit.reserve import Reserve
from salver_server.store.migrate import migrate

Result = TypeVar("Result")
Job = tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]

MOST_GROUPED = 200
"""Jobs that share one commit at most, so that no job waits long for its neighbours."""
READERS = 2


class Database:
    def __init__(self, path: Path, *, reserve: Reserve | None = None) -> None:
        self._path = path
        self._reserve = reserve
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="salver.db.read")
        self._opened: list[sqlite3.Connection] = []
        self._writer = threading.Thread(target=self._write_all, name="salver.db.write", daemon=True)
        self._writer.start()

    async def write(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `job` in a transaction; return its result once it is on disk.

        Cancelling the caller does not undo the job: it may still be committed.
        """
        return await asyncio.wrap_future(self.post(job))

    def post(self, job: Callable[[sqlite3.Connection], Result]) -> "Future[Result]":
        """Hand `job` in and wait for nothing: it runs after those handed in before, before those after."""
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()  # from here on nobody can take the job back
        self._jobs.put((job, future))
        return future

    async def read(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `job` on a read-only connection that sees every committed write."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, job)

    def glance(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        """A read of a few rows by key, here and now: a twentieth of the way to a thread and back.

        For the event loop's thread alone. What grows with history is for `read`.
        """
        return self._read(job)

    def _read(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        conn: sqlite3.Connection | None = getattr(self._local, "conn", None)
        if conn is None:
            conn = _connect(self._path)
            conn.execute("PRAGMA query_only=ON")
            self._local.conn = conn
            self._opened.append(conn)
        return job(conn)

    def _write_all(self) -> None:
        conn = _connect(self._path)
        while True:
            first = self._jobs.get()
            if first is None:
                break
            jobs, last = [first], False
            while len(jobs) < MOST_GROUPED and not self._jobs.empty():
                following = self._jobs.get()
                if following is None:
                    last = True
                    break
                jobs.append(following)
            _commit_together(conn, jobs, self._reserve)
            if last:
                break
        conn.close()

    def close(self) -> None:
        """Finish every job that was handed in, then close; later calls must not come."""
        self._jobs.put(None)
        self._writer.join()
        self._readers.shutdown()
        for conn in self._opened:
            conn.close()


@asynccontextmanager
async def open_database(path: Path, *, reserve: Reserve | None = None) -> AsyncGenerator[Database]:
    """The migrated database at `path`, made if missing; `reserve` is spent when the disk is full."""
    await asyncio.to_thread(_prepare, path)
    database = Database(path, reserve=reserve)
    try:
        yield database
    finally:
        await asyncio.to_thread(database.close)


def _prepare(path: Path) -> None:
    # The mode must be right before the first byte is written.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    conn = _connect(path)
    try:
        conn.execute("PRAGMA journal_mode=WAL")
        migrate(conn)
    finally:
        conn.close()


def _connect(path: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    conn.execute("PRAGMA synchronous=FULL")
    conn.execute("PRAGMA foreign_keys=ON")
    return conn


def _commit_together(conn: sqlite3.Connection, jobs: list[Job], reserve: Reserve | None) -> None:
    try:
        try:
            done = _attempt(conn, jobs)
        except sqlite3.Error as exc:
            if not _is_full(exc) or reserve is None or not reserve.spend():
                raise
            done = _attempt(conn, jobs)
    except BaseException as exc:  # noqa: BLE001 the disk is full or broken: nobody's job is on disk
        for _, future in jobs:
            future.set_exception(exc)
        return
    for future, result, problem in done:
        if problem is None:
            future.set_result(result)
        else:
            future.set_exception(problem)


def _attempt(
    conn: sqlite3.Connection, jobs: list[Job]
) -> list[tuple["Future[Any]", Any, BaseException | None]]:
    """Run the jobs in one transaction; raises if it is not on disk at the end."""
    done: list[tuple[Future[Any], Any, BaseException | None]] = []
    try:
        conn.execute("BEGIN IMMEDIATE")
        for job, future in jobs:
            conn.execute("SAVEPOINT job")
            try:
                done.append((future, job(conn), None))
            except BaseException as exc:
                if _is_full(exc) or not conn.in_transaction:
                    raise  # no job's own fault, and SQLite may have given the transaction up
                conn.execute("ROLLBACK TO job")
                done.append((future, None, exc))
            conn.execute("RELEASE job")
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
    return done


def _is_full(exc: BaseException) -> bool:
    return (
        isinstance(exc, sqlite3.Error)
        and getattr(exc, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    )
