import os
from pathlib import Path

import pytest

from salver_runner.tools import Result
from salver_runner.tools.send_file import TOOL
from salver_runner.workspace import outgoing
from tests.runner.tools.conftest import Runner


async def test_a_copy_is_sent_with_a_few_words(runner: Runner, workspace: Path) -> None:
    (workspace / "a.txt").write_bytes(b"hello")
    sent = await TOOL.run({"path": "a.txt", "text": "here"}, runner.handed)
    assert sent == Result(text="Sent a.txt, 5 bytes.")
    (file,) = runner.files
    assert (runner.sent, file.name, file.size) == (["here"], "a.txt", 5)
    copy = runner.outgoing / file.place / "a.txt"
    (workspace / "a.txt").write_bytes(b"changed")
    assert (copy.read_bytes(), copy.stat().st_nlink) == (b"hello", 1)


async def test_a_link_is_followed_as_any_program_would(runner: Runner, workspace: Path) -> None:
    (workspace / "real.txt").write_bytes(b"hello")
    (workspace / "link.txt").symlink_to("real.txt")
    assert not (await TOOL.run({"path": "link.txt"}, runner.handed)).failed
    (file,) = runner.files
    assert not (runner.outgoing / file.place / "link.txt").is_symlink()


async def test_a_name_that_is_no_text_is_sent_under_one_that_is(
    runner: Runner, workspace: Path
) -> None:
    name = os.fsdecode(b"gr\xfc\xdfe.txt")
    (workspace / name).write_bytes(b"hello")
    await TOOL.run({"path": name}, runner.handed)
    (file,) = runner.files
    assert file.name == "gr??e.txt"
    assert (runner.outgoing / file.place / file.name).read_bytes() == b"hello"


@pytest.mark.parametrize("path", ["gone.txt", "folder", "pipe", "large.bin", "a\0b", "/dev/zero"])
async def test_what_cannot_be_sent_is_said_and_leaves_nothing(
    runner: Runner, workspace: Path, path: str
) -> None:
    (workspace / "folder").mkdir()
    os.mkfifo(workspace / "pipe")
    (workspace / "large.bin").touch()
    os.truncate(workspace / "large.bin", outgoing.LARGEST + 1)
    result = await TOOL.run({"path": path}, runner.handed)
    assert result.failed
    assert "sent" in result.text
    assert (runner.sent, runner.files) == ([], [])
    assert not runner.outgoing.exists() or list(runner.outgoing.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [{}, {"path": 1}, {"path": ""}, {"path": "a", "text": 1}], ids=repr
)
async def test_arguments_that_make_no_sense_are_said(
    runner: Runner, arguments: dict[str, object]
) -> None:
    assert (await TOOL.run(arguments, runner.handed)).failed
