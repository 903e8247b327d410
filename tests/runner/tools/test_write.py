import asyncio
import os
from pathlib import Path

import pytest

from salver_runner.tools import Handed, Result, read, write
from salver_runner.workspace import files
from tests.runner.tools.conftest import Runner


@pytest.fixture(autouse=True)
def at_work(workspace: Path) -> Path:
    return workspace


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def put(handed: Handed, path: str, text: str) -> Result:
    return await write.TOOL.run({"path": path, "text": text}, handed)


async def test_a_new_file_is_made_with_its_folders(handed: Handed, workspace: Path) -> None:
    result = await put(handed, "a/b/c.txt", "one\ntwo\n")
    assert result == Result(text="Made a/b/c.txt: 2 lines.")
    assert (workspace / "a/b/c.txt").read_bytes() == b"one\ntwo\n"
    assert names(workspace / "a/b") == ["c.txt"]


@pytest.mark.parametrize(("text", "lines"), [("", "0 lines"), ("a", "1 line"), ("a\nb", "2 lines")])
async def test_it_says_how_many_lines(handed: Handed, text: str, lines: str) -> None:
    assert (await put(handed, "a", text)).text == f"Made a: {lines}."


async def test_a_new_file_has_the_usual_mode(handed: Handed, workspace: Path) -> None:
    await put(handed, "a", "x")
    (workspace / "b").touch()
    assert (workspace / "a").stat().st_mode == (workspace / "b").stat().st_mode


async def test_a_file_that_was_not_read_stays(handed: Handed, workspace: Path) -> None:
    (workspace / "a").write_text("precious", encoding="utf-8")
    result = await put(handed, "a", "x")
    assert result.failed
    assert "you have not read it" in result.text
    assert (workspace / "a").read_text(encoding="utf-8") == "precious"


async def test_a_file_that_was_read_is_replaced_and_keeps_its_mode(
    handed: Handed, workspace: Path
) -> None:
    (workspace / "a").write_text("old", encoding="utf-8")
    (workspace / "a").chmod(0o751)
    await read.TOOL.run({"path": str(workspace / "a")}, handed)
    assert await put(handed, "a", "new\n") == Result(text="Replaced a: 1 line.")
    assert (workspace / "a").read_text(encoding="utf-8") == "new\n"
    assert (workspace / "a").stat().st_mode & 0o7777 == 0o751
    assert await put(handed, "a", "newer\n") == Result(text="Replaced a: 1 line.")


async def test_a_file_that_changed_since_it_was_read_stays(handed: Handed, workspace: Path) -> None:
    await put(handed, "a", "mine")
    (workspace / "a").write_text("somebody's", encoding="utf-8")
    result = await put(handed, "a", "mine again")
    assert result.failed
    assert "changed by something else" in result.text
    assert (workspace / "a").read_text(encoding="utf-8") == "somebody's"


async def test_another_runner_has_read_nothing(handed: Handed, workspace: Path) -> None:
    await put(handed, "a", "mine")
    assert (await put(Runner(outgoing=workspace).handed, "a", "x")).failed


async def test_a_link_is_followed_as_any_program_would(handed: Handed, workspace: Path) -> None:
    (workspace / "link").symlink_to("there/target")
    assert await put(handed, "link", "x") == Result(text="Made link: 1 line.")
    assert (workspace / "link").is_symlink()
    assert (workspace / "there/target").read_text(encoding="utf-8") == "x"
    assert not (await put(handed, "there/target", "y")).failed


async def test_what_cannot_be_written_is_said_at_once(handed: Handed, workspace: Path) -> None:
    (workspace / "folder").mkdir()
    (workspace / "file").touch()
    os.mkfifo(workspace / "pipe")
    (workspace / "loop").symlink_to("loop")
    for path, words in {
        "folder": "is a folder",
        "pipe": "no regular file but a pipe",
        "/dev/null": "no regular file but",
        "file/x": "a part of this path is a file",
        "loop": "Too many levels",
        "/proc/x": "",
        "a\0b": "is no path",
        "x" * 300: "File name too long",
    }.items():
        async with asyncio.timeout(5):
            result = await put(handed, path, "x")
        assert result.failed, path
        assert words in result.text
    assert names(workspace) == ["file", "folder", "loop", "pipe"]


async def test_half_a_character_is_not_written(handed: Handed, workspace: Path) -> None:
    result = await put(handed, "a", "\ud83d")
    assert result == Result(
        text="The text holds half of a character. Nothing was written.", failed=True
    )
    assert names(workspace) == []


async def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    handed: Handed, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(handed, "a", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = await put(handed, "a", "new")
    assert result.text == "a cannot be used: No space left on device. Nothing was written."
    assert (workspace / "a").read_text(encoding="utf-8") == "old"
    assert names(workspace) == ["a"]


async def test_a_stop_waits_until_the_file_is_whole(
    handed: Handed, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    replace = files.replace

    def slowly(path: str, text: str) -> files.State:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
        return replace(path, text)

    monkeypatch.setattr(files, "replace", slowly)
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(put(handed, "a", "whole"), name="write")
        await begun.wait()
        writing.cancel()
        await asyncio.sleep(0)
        assert not writing.done()
        go_on.set()
    assert writing.cancelled()
    assert (workspace / "a").read_text(encoding="utf-8") == "whole"


@pytest.mark.parametrize(
    "arguments", [{}, {"path": "a"}, {"path": "", "text": "x"}, {"path": "a", "text": 1}]
)
async def test_arguments_that_make_no_sense_are_said_to_the_model(
    arguments: dict[str, object], handed: Handed, workspace: Path
) -> None:
    assert (await write.TOOL.run(arguments, handed)).failed
    assert names(workspace) == []
