import os
from pathlib import Path

import pytest

from salver_server.agents.base import LONGEST, Base, BaseBook
from salver_server.store import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "BASE.md"


@pytest.fixture
def book(path: Path, database: Database) -> BaseBook:
    return BaseBook(path, database)


def write(path: Path, data: str | bytes) -> None:
    """Somebody edits the file by hand."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def remove(path: Path) -> None:
    path.unlink()


async def test_there_need_be_none(book: BaseBook) -> None:
    assert await book.get() == Base(text="", problem="")


async def test_an_edit_counts_at_the_next_look(book: BaseBook, path: Path) -> None:
    write(path, "Speak German.\n")
    assert await book.get() == Base(text="Speak German.", problem="")
    write(path, "Speak plainly.\n")
    assert await book.get() == Base(text="Speak plainly.", problem="")
    remove(path)
    assert await book.get() == Base(text="", problem="")


async def test_a_bad_file_leaves_the_last_good_one_at_work_also_after_a_start(
    book: BaseBook, path: Path, database: Database
) -> None:
    write(path, "Speak German.")
    await book.get()
    write(path, "x" * (LONGEST + 1))
    found = Base(
        text="Speak German.", problem=f"BASE.md has more than {LONGEST} bytes. Shorten it."
    )
    assert await book.get() == found
    assert await BaseBook(path, database).get() == found
    remove(path)
    assert await book.get() == Base(text="", problem="")


async def test_what_is_no_text_is_no_base(book: BaseBook, path: Path) -> None:
    write(path, b"\xff\xfe")
    assert (await book.get()).problem == "BASE.md is no text in UTF-8. Save it as one."


async def test_a_pipe_is_not_waited_for(book: BaseBook, path: Path) -> None:
    os.mkfifo(path)
    assert (await book.get()).problem.endswith("is no file. Put a text file in its place.")
