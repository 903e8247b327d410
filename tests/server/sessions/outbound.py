"""outbound.db as an honest runner leaves it, and as others may."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from salver_server.sessions.reading import Row

EPOCH = 4711
SCHEMA = resources.files("salver_server.sessions").joinpath("outbound.sql")

DIE_WRITING = """
import os, sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("PRAGMA cache_size=1")
conn.execute("BEGIN IMMEDIATE")
conn.executemany(
    "INSERT INTO log (turn, attempt, kind, at, body) VALUES (1, 1, 'tool', '', ?)", [("x" * 4000,)] * 50
)
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Outbound:
    """The outbound.db in a folder `out`."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "outbound.db"

    @property
    def journal(self) -> Path:
        return self.folder / "outbound.db-journal"

    def make(self, *rows: Row, epoch: int = EPOCH, generation: int = 1) -> "Outbound":
        """A whole file with these rows."""
        self.folder.mkdir(exist_ok=True)
        with self.open() as conn:
            conn.executescript(SCHEMA.read_text(encoding="utf-8"))
            conn.execute("INSERT INTO owner VALUES (1, ?, ?)", (epoch, generation))
        self.write(*rows)
        return self

    def write(self, *rows: Row) -> None:
        with self.open() as conn:
            conn.executemany(
                "INSERT INTO log (seq, turn, attempt, kind, message, at, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (r.seq, r.turn, r.attempt, r.kind, r.message, r.at, json.dumps(r.body))
                    for r in rows
                ],
            )

    def do(self, *statements: str) -> None:
        """Whatever else a sandbox may do to its own file."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as conn:
            for statement in statements:
                conn.execute(statement)

    def smuggle(self, *values: Any) -> None:
        """A row whose columns are of any type, in a table that says it is strict."""
        strict = "seq INTEGER PRIMARY KEY, turn, attempt, kind, message, at, body"
        with closing(sqlite3.connect(self.path, isolation_level=None)) as conn:
            sql = conn.execute("SELECT sql FROM sqlite_schema WHERE name = 'log'").fetchone()[0]
            conn.execute("DROP TABLE log")
            conn.execute(f"CREATE TABLE log ({strict})")
            conn.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            conn.execute("PRAGMA writable_schema = ON")
            conn.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'log'", (sql,))

    def die_writing(self) -> None:
        """A writer is killed in the middle: its journal is hot."""
        subprocess.run([sys.executable, "-c", DIE_WRITING, str(self.path)], check=True)
        assert self.journal.stat().st_size > 512

    @contextmanager
    def open(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path)) as conn, conn:
            conn.execute("PRAGMA synchronous = OFF")  # no test pulls the plug
            yield conn
