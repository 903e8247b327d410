import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest

from salver_server.errors import NeedsUser
from salver_server.store import migrate, open_database
from salver_server.store.migrate import migrations, statements


@pytest.fixture
def empty() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        yield conn


def version(conn: sqlite3.Connection) -> int:
    return conn.execute("PRAGMA user_version").fetchone()[0]


def tables(conn: sqlite3.Connection) -> set[str]:
    return {row[0] for row in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_migrations_are_numbered_without_a_gap() -> None:
    assert sorted(migrations()) == list(range(1, len(migrations()) + 1))


def test_an_empty_file_gets_every_migration(empty: sqlite3.Connection) -> None:
    migrate.migrate(empty)
    assert version(empty) == max(migrations())
    assert {"install", "agents", "sessions", "intake", "handovers", "deliveries"} <= tables(empty)


def test_a_file_of_today_is_left_alone(empty: sqlite3.Connection) -> None:
    migrate.migrate(empty)
    before = list(empty.execute("SELECT sql FROM sqlite_schema"))
    migrate.migrate(empty)
    assert list(empty.execute("SELECT sql FROM sqlite_schema")) == before


def test_every_table_checks_its_types(empty: sqlite3.Connection) -> None:
    migrate.migrate(empty)
    lax = [row[1] for row in empty.execute("PRAGMA table_list") if not row[5]]
    assert [name for name in lax if not name.startswith("sqlite_")] == []


def test_a_migration_that_breaks_off_leaves_nothing_of_itself(empty: sqlite3.Connection) -> None:
    empty.execute("CREATE TABLE deliveries (in_the_way TEXT)")
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate.migrate(empty)
    assert (version(empty), tables(empty)) == (0, {"deliveries"})


async def test_a_file_from_the_future_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "salver.db"
    async with open_database(path):
        pass
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA user_version = 9999")
    with pytest.raises(NeedsUser, match=r"has version 9999.*Start the newer Salver"):
        async with open_database(path):
            pass
    with closing(sqlite3.connect(path)) as conn:
        assert version(conn) == 9999


@dataclass(frozen=True, kw_only=True)
class Case:
    id: str
    script: str
    expected: list[str]


@pytest.mark.parametrize(
    "case",
    [
        Case(id="nothing", script="\n", expected=[]),
        Case(id="one", script="SELECT 1;\n", expected=["SELECT 1;"]),
        Case(id="two", script="SELECT 1; SELECT 2;", expected=["SELECT 1;", "SELECT 2;"]),
        Case(id="in-a-text", script="SELECT 'a;b';", expected=["SELECT 'a;b';"]),
        Case(
            id="in-a-comment",
            script="SELECT 1 -- one; and only\n;",
            expected=["SELECT 1 -- one; and only\n;"],
        ),
        Case(
            id="in-a-trigger",
            script="CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2; END; SELECT 3;",
            expected=[
                "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2; END;",
                "SELECT 3;",
            ],
        ),
    ],
    ids=lambda case: case.id,
)
def test_a_semicolon_ends_a_statement_only_where_sqlite_agrees(case: Case) -> None:
    assert statements(case.script) == case.expected


def test_no_two_migrations_have_one_number() -> None:
    files = resources.files("salver_server.store").joinpath("migrations").iterdir()
    assert len([file for file in files if file.name.endswith(".sql")]) == len(migrations())
