import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from salver_runner.tools import Handed, Result, glob
from salver_runner.workspace import tree


@pytest.fixture(autouse=True)
def at_work(workspace: Path) -> Path:
    for age, name in enumerate(("new.py", "src/old.py", "src/.hidden.py")):
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).touch()
        os.utime(workspace / name, (1000 - age, 1000 - age))
    return workspace


async def look(handed: Handed, pattern: str, **more: object) -> Result:
    return await glob.TOOL.run({"pattern": pattern, **more}, handed)


async def test_the_newest_comes_first(handed: Handed, workspace: Path) -> None:
    assert await look(handed, "**/*.py") == Result(text="new.py\nsrc/old.py")
    os.utime(workspace / "src/old.py", (2000, 2000))
    assert await look(handed, "**/*.py") == Result(text="src/old.py\nnew.py")


async def test_a_folder_can_be_named(handed: Handed, workspace: Path) -> None:
    assert await look(handed, "*.py", path="src") == Result(text="src/old.py")
    assert await look(handed, f"{workspace}/*.py") == Result(text=f"{workspace}/new.py")


async def test_nothing_found_is_no_failure(handed: Handed, workspace: Path) -> None:
    result = await look(handed, "*.rs")
    assert not result.failed
    assert result.text.startswith(f"No file matches *.rs in {workspace}.")


async def test_of_many_files_the_newest_are_listed(handed: Handed, workspace: Path) -> None:
    for number in range(300):
        (workspace / f"{number}.txt").touch()
        os.utime(workspace / f"{number}.txt", (number, number))
    lines = (await look(handed, "*.txt")).text.splitlines()
    assert lines[:2] == ["299.txt", "298.txt"]
    assert lines[-2:] == [
        "100.txt",
        "[The newest 200 of 300 files; a narrower pattern shows others.]",
    ]


async def test_a_walk_that_takes_too_long_is_cut(
    handed: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glob, "PATIENCE", 0)
    result = await look(handed, "**")
    assert "Not everything was looked at" in result.text


async def test_a_stop_ends_the_walk(handed: Handed, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, begun, ended = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def endless(
        _root: str, _pattern: str, *, go_on: Callable[[], bool]
    ) -> Iterator[os.DirEntry[str]]:
        loop.call_soon_threadsafe(begun.set)
        while go_on():
            pass
        ended.set()
        yield from ()

    monkeypatch.setattr(tree, "files", endless)
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(look(handed, "**"), name="look")
        await begun.wait()
        looking.cancel()
    assert await asyncio.to_thread(ended.wait, 5)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"pattern": ""},
        {"pattern": 1},
        {"pattern": "*", "path": ""},
        {"pattern": "*", "path": "nowhere"},
        {"pattern": "*", "path": "new.py"},
        {"pattern": "*", "path": "a\0b"},
        {"pattern": "../*"},
        {"pattern": "/"},
    ],
)
async def test_arguments_that_make_no_sense_are_said_to_the_model(
    arguments: dict[str, object], handed: Handed
) -> None:
    assert (await glob.TOOL.run(arguments, handed)).failed
