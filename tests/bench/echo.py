"""The far side of the bare two-database path: run by path, standard library only."""

import ctypes
import os
import sqlite3
import sys

IN_DELETE = 0x200


def main(there: str, back: str) -> None:
    libc = ctypes.CDLL(None)
    changes = libc.inotify_init1(0)
    libc.inotify_add_watch(changes, there.encode(), IN_DELETE)
    print(flush=True)
    seen = 0
    while os.read(changes, 65536):
        reading = sqlite3.connect(f"{there}/rows.db", timeout=5)
        rows = reading.execute("SELECT id, text FROM rows WHERE id > ?", (seen,)).fetchall()
        reading.close()
        if rows:
            seen = rows[-1][0]
            writing = sqlite3.connect(f"{back}/rows.db", timeout=5)
            writing.execute("PRAGMA synchronous=FULL")
            with writing:
                writing.executemany("INSERT INTO rows (id, text) VALUES (?, ?)", rows)
            writing.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
