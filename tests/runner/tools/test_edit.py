import os
from pathlib import Path

import pytest

from salver_runner.tools import LONGEST_RESULT, Handed, Result, edit, read

POEM = "".join(f"line {n}\n" for n in range(1, 10))


@pytest.fixture
async def shelf(workspace: Path, handed: Handed) -> Path:
    """The workspace with a poem in it that was read."""
    (workspace / "poem").write_text(POEM, encoding="utf-8")
    await read.TOOL.run({"path": "poem"}, handed)
    return workspace


async def change(handed: Handed, old: str, new: str, **more: object) -> Result:
    return await edit.TOOL.run({"path": "poem", "old": old, "new": new, **more}, handed)


async def test_the_change_is_shown_with_the_lines_around_it(handed: Handed, shelf: Path) -> None:
    (shelf / "poem").chmod(0o640)
    result = await change(handed, "line 5\n", "one\ntwo\n")
    assert (shelf / "poem").read_text(encoding="utf-8") == POEM.replace("line 5\n", "one\ntwo\n")
    assert (shelf / "poem").stat().st_mode & 0o777 == 0o640
    assert result == Result(
        text="Changed 1 place in poem:\n"
        "     2\tline 2\n     3\tline 3\n     4\tline 4\n     5\tone\n     6\ttwo\n"
        "     7\tline 6\n     8\tline 7\n     9\tline 8\n    10\tline 9"
    )


async def test_edits_follow_one_another(handed: Handed, shelf: Path) -> None:
    assert not (await change(handed, "line 1", "one")).failed
    assert not (await change(handed, "one", "two")).failed
    assert (shelf / "poem").read_text(encoding="utf-8").startswith("two\nline 2\n")


async def test_what_is_not_there_changes_nothing(handed: Handed, shelf: Path) -> None:
    result = await change(handed, "line 10", "x")
    assert result.failed
    assert result.text.startswith("`old` is not in poem.")
    assert (shelf / "poem").read_text(encoding="utf-8") == POEM


async def test_what_is_there_often_is_changed_only_if_all_is_meant(
    handed: Handed, shelf: Path
) -> None:
    result = await change(handed, "line", "verse")
    assert result.failed
    assert "9 times" in result.text
    result = await change(handed, "line", "verse", all=True)
    assert (shelf / "poem").read_text(encoding="utf-8") == POEM.replace("line", "verse")
    assert result.text.startswith("Changed 9 places in poem:\n     1\tverse 1\n")
    assert result.text.endswith("[The first 5 of them are shown.]")


async def test_a_file_that_was_not_read_stays(handed: Handed, workspace: Path) -> None:
    (workspace / "poem").write_text("precious", encoding="utf-8")
    result = await change(handed, "precious", "x")
    assert "you have not read it" in result.text
    assert (workspace / "poem").read_text(encoding="utf-8") == "precious"


async def test_a_file_that_changed_since_stays(handed: Handed, shelf: Path) -> None:
    (shelf / "poem").write_text("line 5", encoding="utf-8")
    result = await change(handed, "line 5", "x")
    assert "changed by something else" in result.text
    assert (shelf / "poem").read_text(encoding="utf-8") == "line 5"


async def test_line_ends_of_windows_stay(handed: Handed, workspace: Path) -> None:
    (workspace / "poem").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    await read.TOOL.run({"path": "poem"}, handed)
    result = await change(handed, "one\ntwo", "one\nand a half")
    assert result.text.endswith("     1\tone\n     2\tand a half\n     3\tthree\n     4\t")
    assert (workspace / "poem").read_bytes() == b"one\r\nand a half\r\nthree\r\n"


async def test_a_change_of_long_lines_is_shown_in_part(handed: Handed, workspace: Path) -> None:
    (workspace / "poem").write_text("x" * 1_000_000 + "y", encoding="utf-8")
    await read.TOOL.run({"path": "poem"}, handed)
    assert len((await change(handed, "y", "z")).text) < LONGEST_RESULT + 100


async def test_what_is_no_text_stays(handed: Handed, workspace: Path) -> None:
    os.mkfifo(workspace / "poem")
    assert "no regular file" in (await change(handed, "a", "b")).text


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"path": "poem"},
        {"path": "poem", "old": "line 1"},
        {"path": "poem", "old": "line 1", "new": 1},
        {"path": "poem", "old": "", "new": "x"},
        {"path": "poem", "old": "line 1", "new": "line 1"},
        {"path": "poem", "old": "line 1", "new": "x", "all": "yes"},
        {"path": "nothing", "old": "line 1", "new": "x"},
    ],
)
async def test_arguments_that_make_no_sense_are_said_to_the_model(
    arguments: dict[str, object], handed: Handed, shelf: Path
) -> None:
    assert (await edit.TOOL.run(arguments, handed)).failed
    assert (shelf / "poem").read_text(encoding="utf-8") == POEM
