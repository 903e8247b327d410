"""Bring salver.db to the newest version: numbered SQL files, forward only, each in one transaction."""

import re
import sqlite3
from importlib import resources

from salver_server.errors import NeedsUser


def migrate(conn: sqlite3.Connection) -> None:
    """Apply every migration that this file has not seen; raises `NeedsUser` for a file from the future."""
    steps = migrations()
    version: int = conn.execute("PRAGMA user_version").fetchone()[0]
    newest = max(steps)
    if version > newest:
        raise NeedsUser(
            f"salver.db has version {version}, this Salver knows up to {newest}. "
            "Start the newer Salver that wrote it, or point SALVER_HOME at another folder."
        )
    for number in range(version + 1, newest + 1):
        conn.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements(steps[number]):
                conn.execute(statement)
            conn.execute(f"PRAGMA user_version={number}")
        except BaseException:
            conn.execute("ROLLBACK")
            raise
        conn.execute("COMMIT")


def migrations() -> dict[int, str]:
    """Number to SQL of every migration, without gaps."""
    found: dict[int, str] = {}
    for file in resources.files("salver_server.store").joinpath("migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_\w+\.sql", file.name):
            found[int(match[1])] = file.read_text(encoding="utf-8")
    return found


def statements(script: str) -> list[str]:
    """The single statements of a script; a semicolon ends one only where SQLite agrees."""
    found: list[str] = []
    rest = ""
    for piece in script.split(";"):
        rest += piece + ";"
        if sqlite3.complete_statement(rest):
            found.append(rest.strip())
            rest = ""
    return [statement for statement in found if statement != ";"]
