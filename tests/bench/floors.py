"""What this machine could do at best, measured in the same run as what is compared with it."""

import ctypes
import os
import select
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

IN_DELETE = 0x200
ECHO = Path(__file__).with_name("echo.py")


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each of so many runs."""
    found: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1000)
    return found


def imports_and_bind(times: int) -> list[float]:
    """A program that imports the web framework and binds a socket; ms."""
    with tempfile.TemporaryDirectory() as folder:
        program = (
            "import fastapi, uvicorn, socket, sys, os; s = socket.socket(socket.AF_UNIX);"
            " s.bind(sys.argv[1]); os.unlink(sys.argv[1])"
        )
        argv = [sys.executable, "-c", program, f"{folder}/s"]
        return timed(lambda: subprocess.run(argv, check=True), times)


def bare_sandbox(times: int) -> list[float]:
    """Bubblewrap and an interpreter that does nothing; ms."""
    argv = [
        "bwrap",
        *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--ro-bind", "/", "/"),
        *("--proc", "/proc", "--dev", "/dev", "--", sys.executable, "-I", "-S", "-c", "pass"),
    ]
    return timed(lambda: subprocess.run(argv, check=True), times)


def two_databases(times: int) -> list[float]:
    """A row in one file, seen by inotify in another process, answered by a row in another file; ms."""
    with tempfile.TemporaryDirectory() as folder:
        there, back = Path(folder) / "in", Path(folder) / "out"
        for place in (there, back):
            place.mkdir()
            with closing(sqlite3.connect(place / "rows.db")) as conn:
                conn.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)")
        argv = [sys.executable, "-I", "-S", str(ECHO), str(there), str(back)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as echo, watched(back) as changed:
            assert echo.stdout
            echo.stdout.readline()
            try:
                return timed(lambda: _there_and_back(there, back, changed), times)
            finally:
                echo.kill()


def _there_and_back(there: Path, back: Path, changed: Callable[[], None]) -> None:
    with closing(sqlite3.connect(there / "rows.db", timeout=5)) as conn, conn:
        conn.execute("PRAGMA synchronous=FULL")
        sent = conn.execute("INSERT INTO rows (text) VALUES ('hello') RETURNING id").fetchone()[0]
    while True:
        changed()
        with closing(sqlite3.connect(back / "rows.db", timeout=5)) as conn:
            if conn.execute("SELECT 1 FROM rows WHERE id = ?", (sent,)).fetchone():
                return


@contextmanager
def watched(folder: Path) -> Generator[Callable[[], None]]:
    """A function that waits until a journal in this folder has been removed."""
    libc = ctypes.CDLL(None)
    descriptor = libc.inotify_init1(0)
    libc.inotify_add_watch(descriptor, bytes(folder), IN_DELETE)

    def wait() -> None:
        select.select([descriptor], [], [])
        os.read(descriptor, 65536)

    try:
        yield wait
    finally:
        os.close(descriptor)


def commits_a_second(files: int, seconds: float) -> float:
    """Fsynced commits of one row each, into so many files at once."""
    counts: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        until = time.perf_counter() + seconds

        def commit(path: Path) -> None:
            with closing(sqlite3.connect(path, isolation_level=None)) as conn:
                conn.execute("PRAGMA synchronous=FULL")
                conn.execute("CREATE TABLE rows (text TEXT)")
                count = 0
                while time.perf_counter() < until:
                    conn.execute("INSERT INTO rows VALUES ('hello')")
                    count += 1
            counts.append(count)

        threads = [
            threading.Thread(target=commit, args=(Path(folder) / f"{number}.db",))
            for number in range(files)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sum(counts) / seconds
