"""The killable place: a child process that reads files which a sandbox has written.

Standard library only, run by path. A request is one line of JSON on stdin, the answer one on stdout.
Whatever hangs here (a FIFO, a view without an end) costs this process and nothing else.
"""

import fcntl
import json
import os
import resource
import sqlite3
import stat
import sys
from typing import Any

LONGEST_VALUE = 16 * 1024 * 1024
"""Bytes of one value; a longer one is refused."""
MOST_BYTES = 32 * 1024 * 1024
"""Of one answer, unless its first row is longer; what is left comes with the next request."""
LONGEST_ESCAPE = 6
"""Bytes that one character may take in an answer."""
MOST_ROWS = 1000
MOST_PARTS = 300_000
"""Commas and brackets of one answer's bodies: each may stand for an object in whoever takes it up."""
MOST_MEMORY = 1024 * 1024 * 1024
"""Bytes of this process's address space: SQLite takes a schema into memory whole."""
LONGEST_REASON = 200
"""Characters of why a file is not trusted: SQLite quotes names that a sandbox chose."""
LARGEST_FILE = 4 * 1024 * 1024 * 1024
SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
ROWS = "SELECT seq, turn, attempt, kind, message, at, body FROM log WHERE seq > ? ORDER BY seq"
TYPES = ((int,), (int,), (int,), (str,), (int, type(None)), (str,), (str,))
"""Of these columns: a sandbox may have made its table before it called it STRICT."""


class Hostile(Exception):
    """The file is not what a runner of ours writes."""


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > MOST_MEMORY:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    for line in sys.stdin:
        try:
            answer = read(json.loads(line))
        except Hostile as exc:
            answer = _hostile(str(exc))
        except sqlite3.DatabaseError as exc:
            answer = _classified(exc)
        except (sqlite3.Error, MemoryError, OverflowError, ValueError) as exc:
            answer = _hostile(f"it cannot be read: {exc or type(exc).__name__}")
        sys.stdout.buffer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
        sys.stdout.buffer.flush()


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Rows above `after` of the outbound.db in `folder`, if it is the file of this epoch and schema."""
    try:
        folder = os.open(request["folder"], os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return {"is": "absent"}
    except NotADirectoryError:
        raise Hostile("there is no folder to read it from") from None
    try:
        for suffix in ("-wal", "-shm"):
            if _exists(folder, "outbound.db" + suffix):
                raise Hostile(f"there is an outbound.db{suffix}")
        journal = _exists(folder, "outbound.db-journal")
        if journal and not stat.S_ISREG(journal.st_mode):
            raise Hostile("outbound.db-journal is no regular file")
        try:
            held = os.open("outbound.db", os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
        except FileNotFoundError:
            return {"is": "absent"}
        try:
            return _read_held(folder, held, request)
        finally:
            os.close(held)
    finally:
        os.close(folder)


def _read_held(folder: int, held: int, request: dict[str, Any]) -> dict[str, Any]:
    before = _checked(held)
    # The folder by its handle: nobody can put another one into the path meanwhile.
    conn = sqlite3.connect(
        f"file:/proc/self/fd/{folder}/outbound.db?mode=ro",
        uri=True,
        timeout=0,
        isolation_level=None,
    )
    try:
        conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        conn.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        conn.execute("PRAGMA trusted_schema=OFF")
        conn.execute("PRAGMA cell_size_check=ON")
        # A file in WAL mode cannot be opened so; else SQLite would write files beside it.
        conn.execute("PRAGMA locking_mode=EXCLUSIVE")
        conn.execute("BEGIN")
        schema = [list(row) for row in conn.execute(SCHEMA)]
        if not schema:
            return {"is": "absent"}
        if schema != request["schema"]:
            raise Hostile("its tables are not ours")
        owner = conn.execute("SELECT epoch, generation FROM owner WHERE id = 1").fetchone()
        if owner is None or owner[0] != request["epoch"]:
            raise Hostile("it is another file than the one this session was given")
        rows, more = _rows(conn, request["after"])
        last = conn.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()[0]
        if not _opened(before):
            raise Hostile("it was exchanged while it was read")
    finally:
        conn.close()
    _checked(held)
    if last < request["after"]:
        raise Hostile(f"it ends at row {last}, but row {request['after']} was read before")
    return {
        "is": "read",
        "rows": rows,
        "more": more,
        "generation": owner[1],
        "file": [before.st_dev, before.st_ino],
    }


def _rows(conn: sqlite3.Connection, after: int) -> tuple[list[list[Any]], bool]:
    rows: list[list[Any]] = []
    size = parts = 0
    for row in conn.execute(ROWS, (after,)):
        if any(type(value) not in types for value, types in zip(row, TYPES, strict=True)):
            raise Hostile(f"row {row[0]} has columns of other types")
        size += LONGEST_ESCAPE * (len(row[3]) + len(row[5]) + len(row[6]))
        parts += (pieces := sum(map(row[6].count, ",[{")))
        if rows and (size > MOST_BYTES or parts > MOST_PARTS or len(rows) >= MOST_ROWS):
            return rows, True
        if pieces > MOST_PARTS:
            raise Hostile(f"row {row[0]} is made of {pieces} pieces")
        rows.append(list(row))
    return rows, False


def _checked(held: int) -> os.stat_result:
    found = os.fstat(held)
    if not stat.S_ISREG(found.st_mode):
        raise Hostile("outbound.db is no regular file")
    if found.st_nlink != 1:
        raise Hostile(f"outbound.db has {found.st_nlink} names")
    if found.st_size > LARGEST_FILE:
        raise Hostile(f"outbound.db has {found.st_size} bytes")
    return found


def _opened(expected: os.stat_result) -> bool:
    """Whether SQLite really has the checked file open, whatever the name means by now."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names of descriptors, no paths
        try:
            flags = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 a name of a descriptor, no path
            found = os.fstat(int(name))
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (expected.st_dev, expected.st_ino) and not _is_path(
            int(name)
        ):
            return "outbound.db" in flags
    return False


def _is_path(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH)


def _exists(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _classified(exc: sqlite3.DatabaseError) -> dict[str, Any]:
    code = getattr(exc, "sqlite_errorcode", 0)
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return {"is": "busy"}
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN:
            # A dead runner's journal must be rolled back first, or a live one is just making it.
            return {"is": "torn"}
        case _:
            return _hostile(f"it cannot be read: {exc}")


def _hostile(why: str) -> dict[str, Any]:
    """Told to people, so that it must neither be long nor move the cursor of a terminal."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in why[:LONGEST_REASON])
    return {"is": "hostile", "why": shown}


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os._exit(0)  # the server is gone, and nobody is left to be told
