"""Real searches, in a process of their own."""

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from salver_runner.tools import LONGEST_RESULT, Handed, Result, grep
from salver_runner.workspace.files import LARGEST
from salver_runner.workspace.search import MOST_LINES

ENDLESS = {"pattern": "(a+)+$", "path": "endless"}
"""Takes longer than the world will last."""


@pytest.fixture(autouse=True)
def at_work(workspace: Path) -> Path:
    return workspace


async def search(handed: Handed, pattern: str, **more: object) -> Result:
    return await grep.TOOL.run({"pattern": pattern, **more}, handed)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


async def test_lines_are_found_with_file_and_number(handed: Handed, workspace: Path) -> None:
    put(workspace / "a.txt", "one\r\ntwo\r\n")
    put(workspace / "src/b.py", "three\nTwo times\n")
    put(workspace / ".hidden", "two")
    assert await search(handed, r"^tw\w") == Result(text="a.txt:2: two")
    result = await search(handed, "two", ignore_case=True)
    assert sorted(result.text.splitlines()) == ["a.txt:2: two", "src/b.py:2: Two times"]
    assert await search(handed, "two", ignore_case=True, glob="*.py") == Result(
        text="src/b.py:2: Two times"
    )
    assert (await search(handed, "Two", path="src")).text == "src/b.py:2: Two times"
    assert (await search(handed, "two", path=".hidden")).text == ".hidden:1: two"
    assert (await search(handed, "two", glob=".*")).text == ".hidden:1: two"
    assert await search(handed, "four") == Result(text="Nothing matches.")


async def test_what_is_no_text_is_left_out(handed: Handed, workspace: Path) -> None:
    (workspace / "binary").write_bytes(b"two\0")
    (workspace / "latin").write_bytes("two é".encode("latin-1"))
    os.mkfifo(workspace / "pipe")
    (workspace / "huge").touch()
    os.truncate(workspace / "huge", LARGEST + 1)
    result = await search(handed, "two")
    assert result.text == ("latin:1: two \ufffd\n[Not searched, too large or not readable: huge.]")


async def test_a_long_line_is_shown_around_what_was_found(handed: Handed, workspace: Path) -> None:
    put(workspace / "a", "x" * 100_000 + "here" + "y" * 100_000)
    result = await search(handed, "here")
    assert len(result.text) < 320
    assert "xhereyy" in result.text


async def test_of_many_lines_the_first_are_shown(handed: Handed, workspace: Path) -> None:
    put(workspace / "a", ("x" * 500 + "\n") * 1000)
    result = await search(handed, "x")
    assert len(result.text) < LONGEST_RESULT + 100
    assert result.text.endswith(
        f"[Only the first {MOST_LINES} lines are shown; search more narrowly.]"
    )


@pytest.mark.parametrize(
    "pattern", ["(", "*", "a{99999999999}", "(?P<x", "(" * 5000 + ")" * 5000, "\ud83d("]
)
async def test_a_bad_pattern_gets_a_sentence(handed: Handed, pattern: str) -> None:
    result = await search(handed, pattern)
    assert result.failed
    assert result.text.startswith("This is no regular expression that Python can use: ")


async def test_a_pattern_that_takes_for_ever_is_ended_with_what_was_found(workspace: Path) -> None:
    put(workspace / "endless", "aaa\n" + "a" * 100 + "b\n")
    result = await grep.grep(ENDLESS, killed_at=1)
    assert result.failed
    assert result.text.startswith(
        "endless:1: aaa\nEnded after 1 s: on some line this pattern takes"
    )
    assert psutil.Process().children() == []


async def test_a_stop_ends_the_search(handed: Handed, workspace: Path) -> None:
    put(workspace / "endless", "a" * 100 + "b\n")
    me = psutil.Process()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
        searching = tasks.create_task(search(handed, **ENDLESS), name="search")
        while not me.children():  # noqa: ASYNC110 - a process rings nobody
            await asyncio.sleep(0.005)
        searching.cancel()
    assert me.children() == []


async def test_a_search_that_breaks_off_is_said(
    handed: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grep, "SEARCH", "import sys; sys.exit(1)")
    result = await search(handed, "x")
    assert result.failed
    assert result.text.startswith("The search broke off (exit code 1)")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"pattern": ""},
        {"pattern": 1},
        {"pattern": "a", "path": 1},
        {"pattern": "a", "path": "nowhere"},
        {"pattern": "a", "path": "a\0b"},
        {"pattern": "a", "path": "\ud83d"},
        {"pattern": "a", "path": "/dev/zero"},
        {"pattern": "a", "glob": ""},
        {"pattern": "a", "glob": "../*"},
        {"pattern": "a", "ignore_case": "yes"},
    ],
)
async def test_arguments_that_make_no_sense_are_said_to_the_model(
    arguments: dict[str, object], handed: Handed
) -> None:
    result = await grep.TOOL.run(arguments, handed)
    assert result.failed
    assert result.text
    assert "broke off" not in result.text
