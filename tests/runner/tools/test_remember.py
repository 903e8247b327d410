import os
import re
from pathlib import Path

import pytest

from salver_runner.tools import Handed, Result, edit, read, remember
from salver_runner.workspace import memory


@pytest.fixture(autouse=True)
def at_work(workspace: Path) -> Path:
    return workspace


async def note(handed: Handed, text: object) -> Result:
    return await remember.TOOL.run({"text": text}, handed)


def kept() -> str:
    return Path(memory.PATH).read_text(encoding="utf-8")


async def test_a_note_is_one_dated_line(handed: Handed) -> None:
    assert await note(handed, "Ada likes\n tea ") == Result(text="Noted in MEMORY.md.")
    await note(handed, "and cake")
    assert re.fullmatch(r"- \d{4}-\d\d-\d\d: Ada likes tea\n- \d{4}-\d\d-\d\d: and cake\n", kept())


async def test_a_note_begins_a_line_of_its_own(handed: Handed, workspace: Path) -> None:
    (workspace / "MEMORY.md").write_text("by hand", encoding="utf-8")
    await note(handed, "tea")
    assert kept().startswith("by hand\n- ")


async def test_when_it_is_full_the_agent_is_asked_to_tidy(handed: Handed, workspace: Path) -> None:
    (workspace / "MEMORY.md").write_text("x" * (memory.MOST - 10), encoding="utf-8")
    result = await note(handed, "tea")
    assert result.failed
    assert "tidy it with `edit`" in result.text
    assert len(kept()) == memory.MOST - 10


async def test_a_note_does_not_keep_from_editing_what_was_read(handed: Handed) -> None:
    await note(handed, "tea")
    await read.TOOL.run({"path": "MEMORY.md"}, handed)
    await note(handed, "cake")
    result = await edit.TOOL.run({"path": "MEMORY.md", "old": "tea", "new": "coffee"}, handed)
    assert not result.failed


async def test_notes_in_a_pipe_are_refused_at_once(handed: Handed, workspace: Path) -> None:
    os.mkfifo(workspace / "MEMORY.md")
    assert "no regular file" in (await note(handed, "tea")).text


@pytest.mark.parametrize("text", [None, 1, "", " \n", "x" * 1001, "\ud83d"], ids=ascii)
async def test_what_is_no_note_is_not_kept(text: object, handed: Handed, workspace: Path) -> None:
    assert (await note(handed, text)).failed
    assert not (workspace / "MEMORY.md").exists()
