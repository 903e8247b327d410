"""The tree can be read by a stranger: it names no machine and no place to fetch from."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.house.tree import ROOT, shown

# Spelled so that this file doesn't name them either.
REGISTRIES = r"\bpypi\.[a-z]+\b|\bpythonhosted\.|\bregistry\.(?:npmjs|yarnpkg)\.|\bdeb\.debian\."
HOMES = r"(?<![\w.])/(?:root|(?:home|Users)/\w+)/"

# May only shrink: a file that no longer needs its excuse fails below.
EXCUSED: dict[str, str] = {}


def test_no_file_names_a_machine_or_a_registry() -> None:
    assert {path: found for path, found in named().items() if path not in EXCUSED} == {}


def test_nothing_is_excused_any_longer_than_it_needs() -> None:
    assert sorted(EXCUSED.keys() - named().keys()) == []


def test_every_excuse_has_a_reason() -> None:
    assert [path for path, reason in EXCUSED.items() if len(reason) < 20] == []


def named() -> dict[str, list[str]]:
    pattern = re.compile(f"{REGISTRIES}|{HOMES}|{re.escape(str(ROOT))}/")
    found = {shown(path): pattern.findall(text) for path, text in texts()}
    return {path: matches for path, matches in found.items() if matches}


def texts() -> Iterator[tuple[Path, str]]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        try:
            yield path, path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
