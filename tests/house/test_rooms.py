"""Every room has its tests and its place in ARCHITECTURE.md."""

import re
from pathlib import Path

from tests.house.tree import ARCHITECTURE, RUNNER, SERVER, TESTS, names_of_tests, sources

# May only shrink: an entry whose reason has gone fails below.
UNTESTED: dict[str, str] = {}

PACKAGES = {"server": SERVER, "runner": RUNNER}


def test_every_room_has_tests() -> None:
    assert sorted(untested() - UNTESTED.keys()) == []


def test_nothing_is_excused_any_longer_than_it_needs() -> None:
    assert sorted(UNTESTED.keys() - untested()) == []


def test_every_excuse_has_a_reason() -> None:
    assert [room for room, reason in UNTESTED.items() if len(reason) < 20] == []


def test_the_architecture_names_every_room() -> None:
    words = set(re.findall(r"\w+", ARCHITECTURE.read_text(encoding="utf-8")))
    unnamed = [
        room for package in PACKAGES.values() for room in rooms(package) if room not in words
    ]
    assert unnamed == []


def untested() -> set[str]:
    return {
        f"{mirror}/{room}"
        for mirror, package in PACKAGES.items()
        for room, place in rooms(package).items()
        if not names_of_tests(TESTS / mirror / (room if place.is_dir() else f"test_{room}.py"))
    }


def rooms(package: Path) -> dict[str, Path]:
    """By name: the folders with source in them, and the modules that stand alone."""
    folders = {path.name: path for path in package.iterdir() if path.is_dir() and sources(path)}
    modules = {path.stem: path for path in package.glob("*.py") if path.stem != "__init__"}
    return modules | folders
