import os
from pathlib import Path

from salver_runner.workspace import memory


def test_without_notes_there_is_nothing_to_show(tmp_path: Path) -> None:
    assert memory.notes(str(tmp_path / "MEMORY.md")) == ""


def test_notes_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    path = tmp_path / "MEMORY.md"
    path.write_text("- tea\n", encoding="utf-8")
    assert memory.notes(str(path)) == "- tea"
    path.write_text("x" * 1_000_000, encoding="utf-8")
    assert len(memory.notes(str(path))) < memory.MOST + 100


def test_what_cannot_be_shown_is_said_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "MEMORY.md")
    assert "no regular file" in memory.notes(str(tmp_path / "MEMORY.md"))
