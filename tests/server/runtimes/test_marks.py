"""Labels and handles survive the way through command lines and databases."""

from dataclasses import replace
from pathlib import Path

import pytest

from salver_server.errors import Broken
from salver_server.ids import InstallId, SessionId
from salver_server.runtimes.process import marks
from salver_server.runtimes.process.marks import Handle, Label

LABEL = Label(
    install=InstallId("house"),
    session=SessionId("s-1"),
    generation=3,
    memory=1,
    processes=2,
    disk=3,
    folders=(Path("/data/wörk"), Path("/data/a b\nc")),
    log=Path("/data/log"),
)
HANDLE = Handle(boot="b", pid=7, started=8, label=LABEL)


def test_a_label_reads_as_it_was_written() -> None:
    assert marks.read(marks.written(LABEL)) == LABEL


@pytest.mark.parametrize("argument", ["", "python", marks.PREFIX, marks.PREFIX + '{"install": 1}'])
def test_what_is_no_label_is_none(argument: str) -> None:
    assert marks.read(argument) is None


def test_a_mark_leads_back_to_its_handle() -> None:
    mark = marks.mark(HANDLE)
    assert (mark.session, mark.generation) == ("s-1", 3)
    assert marks.handle(mark) == HANDLE


def test_a_mark_that_contradicts_itself_proves_nothing() -> None:
    with pytest.raises(Broken, match="another sandbox"):
        marks.handle(replace(marks.mark(HANDLE), generation=4))
