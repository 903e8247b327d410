import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from salver_server.agents.skills import (
    FILE,
    LARGEST,
    LONGEST_FILE,
    MOST_FILES,
    Skill,
    SkillBook,
)
from salver_server.ids import SkillName

LETTERS = SkillName("letters")
TEXT = (
    "---\nname: letters\ndescription: How to write letters.\nlicense: MIT\n---\nBegin politely.\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "skills"


def write(folder: Path, name: str = LETTERS, text: str = TEXT) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / FILE).write_text(text, encoding="utf-8")
    return folder / name


def test_a_skill_is_a_name_and_what_it_is_for(folder: Path) -> None:
    write(folder, text=TEXT.replace("How to", "How\n  to"))
    (folder / LETTERS / "forms").mkdir()
    (folder / LETTERS / "forms" / "bank.md").write_text("Dear bank,")
    found = SkillBook(folder).get(LETTERS)
    assert (found.skill, found.problem) == (
        Skill(name=LETTERS, description="How to write letters.", folder=folder / LETTERS),
        "",
    )


def test_all_that_lie_there_are_found_the_broken_ones_too(folder: Path) -> None:
    assert SkillBook(folder).all() == []
    for name in ("letters", "Odd Name", ".git"):
        write(folder, name)
    assert [(it.name, it.skill is not None) for it in SkillBook(folder).all()] == [
        ("Odd Name", False),
        ("letters", True),
    ]


def test_an_edit_counts_at_the_next_look(folder: Path) -> None:
    book = SkillBook(folder)
    assert book.get(LETTERS).problem.startswith("There is no skill 'letters'. Put it in")
    write(folder)
    assert book.get(LETTERS).problem == ""
    (folder / LETTERS / FILE).write_text("Begin.")
    assert "says 'name: '" in book.get(LETTERS).problem


@dataclass(frozen=True, kw_only=True)
class Case:
    id: str
    spoil: Callable[[Path], object]
    says: str


def rewrite(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / FILE).write_text(TEXT.replace(old, new), encoding="utf-8")


CASES = [
    Case(id="no file", spoil=lambda it: (it / FILE).unlink(), says="There is no skill"),
    Case(id="another name", spoil=rewrite("name: letters", "name: mail"), says="says 'name: mail'"),
    Case(id="no description", spoil=rewrite("How to write letters.", ""), says="needs a 'descr"),
    Case(id="a novel", spoil=rewrite("How", "How " * 400), says="of 1 to 1024 characters"),
    Case(id="no fields", spoil=rewrite("---", "==="), says="says 'name: '"),
    Case(id="half fields", spoil=rewrite("MIT\n---", "MIT"), says="no second '---'"),
    Case(id="no text", spoil=lambda it: (it / FILE).write_bytes(b"\xff"), says="no text in UTF-8"),
    Case(id="too long", spoil=rewrite("Begin", "x" * LONGEST_FILE), says="Move parts of it into"),
    Case(
        id="a link",
        spoil=lambda it: (it / "passwords").symlink_to("/etc/passwd"),
        says="holds passwords, which is neither a file nor a folder",
    ),
    Case(id="a pipe", spoil=lambda it: os.mkfifo(it / "pipe"), says="holds pipe, which is neither"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_can_not_be_used_says_why(folder: Path, case: Case) -> None:
    case.spoil(write(folder))
    found = SkillBook(folder).get(LETTERS)
    assert found.skill is None
    assert case.says in found.problem


def test_a_folder_behind_a_link_is_none(folder: Path) -> None:
    write(folder.parent / "elsewhere")
    folder.mkdir()
    (folder / LETTERS).symlink_to(folder.parent / "elsewhere" / LETTERS)
    assert "neither a file nor a folder" in SkillBook(folder).get(LETTERS).problem


def test_a_skill_has_a_bearable_number_of_files(folder: Path) -> None:
    write(folder)
    for number in range(MOST_FILES):
        (folder / LETTERS / str(number)).touch()
    assert "has more than 1000 files" in SkillBook(folder).get(LETTERS).problem


def test_a_skill_has_a_bearable_size(folder: Path) -> None:
    with (write(folder) / "film").open("wb") as file:
        file.truncate(LARGEST + 1)
    assert "or 50 MB. Make it smaller." in SkillBook(folder).get(LETTERS).problem


@pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes run as who wrote the skill")
def test_what_a_sandbox_may_not_read_is_said(folder: Path) -> None:
    (write(folder) / FILE).chmod(0o600)
    assert "chmod -R a+rX" in SkillBook(folder).get(LETTERS).problem
