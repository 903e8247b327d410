import asyncio
import os
import socket
from pathlib import Path

import pytest

from salver_runner.tools import LONGEST_RESULT, Handed, Result
from salver_runner.tools.read import TOOL
from salver_runner.workspace.files import LARGEST


@pytest.fixture(autouse=True)
def at_work(workspace: Path) -> Path:
    return workspace


async def test_lines_have_numbers(handed: Handed, workspace: Path) -> None:
    (workspace / "a.txt").write_bytes(b"one\r\ntwo\n\nfour")
    result = await TOOL.run({"path": "a.txt"}, handed)
    assert result == Result(text="     1\tone\n     2\ttwo\n     3\t\n     4\tfour")


async def test_a_part_says_what_is_left_out_and_how_to_go_on(
    handed: Handed, workspace: Path
) -> None:
    (workspace / "a.txt").write_text("".join(f"line {n}\n" for n in range(1, 11)), encoding="utf-8")
    result = await TOOL.run({"path": "a.txt", "offset": 3, "limit": 2}, handed)
    assert result.text == (
        "     3\tline 3\n     4\tline 4\n[Lines 3 to 4 of 10; go on with offset 5.]"
    )
    result = await TOOL.run({"path": "a.txt", "offset": 10}, handed)
    assert result.text == "    10\tline 10\n[Lines 10 to 10 of 10.]"
    result = await TOOL.run({"path": "a.txt", "offset": 11}, handed)
    assert result == Result(text="a.txt has only 10 lines.", failed=True)


async def test_a_long_file_is_shown_as_far_as_a_result_goes(
    handed: Handed, workspace: Path
) -> None:
    (workspace / "a.txt").write_text(f"{'x' * 99}\n" * 900, encoding="utf-8")
    result = await TOOL.run({"path": "a.txt"}, handed)
    assert len(result.text) < LONGEST_RESULT
    assert result.text.endswith("[Lines 1 to 277 of 900; go on with offset 278.]")


async def test_a_long_line_is_cut(handed: Handed, workspace: Path) -> None:
    (workspace / "a.txt").write_text("x" * 1_000_000 + "\nend\n", encoding="utf-8")
    result = await TOOL.run({"path": "a.txt"}, handed)
    assert "[… 998000 more characters in this line" in result.text
    assert result.text.endswith("     2\tend")


async def test_an_empty_file_is_said(handed: Handed, workspace: Path) -> None:
    (workspace / "a.txt").touch()
    assert await TOOL.run({"path": "a.txt"}, handed) == Result(text="a.txt is empty.")


async def test_what_cannot_be_read_is_said_at_once(handed: Handed, workspace: Path) -> None:
    (workspace / "folder").mkdir()
    os.mkfifo(workspace / "pipe")
    (workspace / "loop").symlink_to("loop")
    (workspace / "zeros").write_bytes(b"\0" * 10)
    (workspace / "latin").write_bytes("é".encode("latin-1"))
    (workspace / "huge").touch()
    os.truncate(workspace / "huge", LARGEST + 1)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for path, words in {
            "folder": "is a folder. `glob`",
            "pipe": "no regular file but a pipe",
            "socket": "cannot be used: No such device",
            "/dev/zero": "no regular file but",
            "loop": "cannot be used: Too many levels",
            "zeros": "no UTF-8 text (10 bytes)",
            "latin": "no UTF-8 text (1 bytes)",
            "huge": "larger than 10 MB",
            "nothing": "There is no nothing. Look for it with `glob`",
            "latin/a": "a part of this path is a file",
            "a\0b": "is no path",
            "a\ud83d": "is no path",
            "x" * 300: "File name too long",
        }.items():
            async with asyncio.timeout(5):
                result = await TOOL.run({"path": path}, handed)
            assert result.failed, path
            assert words in result.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_what_is_not_open_to_us_is_said(handed: Handed, workspace: Path) -> None:
    (workspace / "private").touch(mode=0)
    result = await TOOL.run({"path": "private"}, handed)
    assert result == Result(text="private is not open to you: permission denied.", failed=True)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"path": ""},
        {"path": 1},
        {"path": "a", "offset": 0},
        {"path": "a", "offset": "1"},
        {"path": "a", "limit": 0},
    ],
)
async def test_arguments_that_make_no_sense_are_said_to_the_model(
    arguments: dict[str, object], handed: Handed
) -> None:
    assert (await TOOL.run(arguments, handed)).failed
