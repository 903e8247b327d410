"""The table of guarantees in ARCHITECTURE.md is true: places, failpoints and tests exist."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from tests.house.tree import (
    ARCHITECTURE,
    ROOT,
    RUNNER,
    SERVER,
    names_of_tests,
    parsed,
    shown,
    sources,
)

HEADER = ("guarantee", "where kept", "failpoint", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    guarantee: str
    places: str
    failpoints: str
    tests: str


def test_every_guarantee_names_a_place_a_failpoint_and_a_test() -> None:
    silent = [
        row.guarantee
        for row in table()
        if not (quoted(row.places) and quoted(row.tests))
        # A guarantee that no crash can break has no failpoint, and says so.
        or not (quoted(row.failpoints) or re.match(r"none: .{10}", row.failpoints))
    ]
    assert silent == []


def test_every_place_exists() -> None:
    assert [place for row in table() for place in quoted(row.places) if not is_place(place)] == []


def test_every_test_exists() -> None:
    named = [test for row in table() for test in quoted(row.tests)]
    assert [test for test in named if not is_test(test)] == []


def test_the_table_and_the_source_know_the_same_failpoints() -> None:
    assert {name for row in table() for name in quoted(row.failpoints)} == set(failpoints())


def table() -> list[Row]:
    lines = iter(ARCHITECTURE.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if cells(line) == HEADER:
            break
    else:
        raise AssertionError(f"ARCHITECTURE.md has no table {HEADER}")
    next(lines)
    rows: list[Row] = []
    for line in takewhile(lambda line: line.startswith("|"), lines):
        guarantee, places, points, tests = cells(line)
        rows.append(Row(guarantee=guarantee, places=places, failpoints=points, tests=tests))
    assert rows, "the table of guarantees is empty"
    return rows


def cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def is_place(name: str) -> bool:
    """A dotted module, or a path from the root or from within either package."""
    dotted = name.replace(".", "/")
    paths = [
        base / spelling
        for base in (ROOT, SERVER, SERVER.parent, RUNNER, RUNNER.parent)
        for spelling in (name, f"{dotted}.py", dotted)
    ]
    return any(path.exists() for path in paths)


def is_test(name: str) -> bool:
    path, separator, function = name.partition("::")
    return bool(separator) and function in names_of_tests(ROOT / path)


def failpoints() -> Iterator[str]:
    for path in sources(SERVER, RUNNER):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and called(node) == "failpoint":
                yield literal(node, path)


def called(call: ast.Call) -> str | None:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return None


def literal(call: ast.Call, path: Path) -> str:
    match call.args:
        case [ast.Constant(value=str(name))]:
            return name
        case _:
            raise AssertionError(f"{shown(path)}:{call.lineno}: a failpoint is named by a literal")
