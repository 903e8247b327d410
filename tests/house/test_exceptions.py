"""Wherever a tool is told to look away, the reason stands beside it."""

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.house.tree import DESKTOP, ROOT, RUNNER, SERVER, TESTS, shown, sources

SUPPRESSION = re.compile(r"#\s*(?:noqa\b|(?:type|pyright):\s*ignore\b)")
EXPLAINED = re.compile(
    r"#\s*(?:noqa: [A-Z]+\d+(?:,\s*[A-Z]+\d+)*|pyright: ignore\[[\w, ]+\])\W+(?P<reason>\w.{8,})"
)
PER_FILE = re.compile(r"^\[.*per-file-ignores\]\n((?:.+\n)*)", re.MULTILINE)
ARRAY = re.compile(r"^(#.*\n)?([\w-]*ignore[\w-]* = \[[^\]]*\].*)$", re.MULTILINE)


def test_a_suppression_in_the_source_names_its_code_and_its_reason() -> None:
    silent = [
        f"{shown(path)}:{token.start[0]}"
        for path in sources(SERVER, RUNNER, DESKTOP, TESTS, ROOT / "packaging")
        for token in comments(path)
        if SUPPRESSION.search(token.string) and not EXPLAINED.search(token.string)
    ]
    assert silent == []


def test_an_exception_in_the_settings_has_a_reason() -> None:
    silent = [
        f"{shown(path)}: {line}"
        for path in (ROOT / "pyproject.toml", RUNNER.parent / "pyproject.toml")
        for line in unexplained(path.read_text(encoding="utf-8"))
    ]
    assert silent == []


def comments(path: Path) -> list[tokenize.TokenInfo]:
    with tokenize.open(path) as file:
        return [t for t in tokenize.generate_tokens(file.readline) if t.type == tokenize.COMMENT]


def unexplained(settings: str) -> Iterator[str]:
    """Exceptions with no comment at their end; a list may have one above it for all it holds."""
    for table in PER_FILE.findall(settings):
        yield from (line for line in table.splitlines() if "#" not in line)
    for above, array in ARRAY.findall(settings):
        if not above:
            yield from (line for line in array.splitlines() if '"' in line and "#" not in line)
