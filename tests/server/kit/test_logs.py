import logging
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from salver_server.kit.logs import Fields

PROGRAM = """
import logging
from salver_server.kit.logs import to_stderr
to_stderr()
logging.getLogger("salver_server.intake").info("message routed", extra={"channel": "local"})
logging.getLogger("salver_server.intake").debug("for the author")
logging.getLogger("library").info("chatter")
logging.getLogger("library").warning("trouble")
"""


def written(message: str, **fields: Any) -> str:
    """The line of a record that was said with these fields."""
    record = logging.makeLogRecord(
        {"name": "salver", "levelname": "INFO", "msg": message, **fields}
    )
    return Fields().format(record).partition("salver: ")[2]


@dataclass(frozen=True, kw_only=True)
class Case:
    value: object
    shown: str


@pytest.mark.parametrize(
    "case",
    [
        Case(value="local", shown="local"),
        Case(value=7, shown="7"),
        Case(value="", shown="''"),
        Case(value="two words", shown="'two words'"),
        Case(value="a\nforged line", shown="'a\\nforged line'"),
        Case(value="\x1b[2J", shown="'\\x1b[2J'"),
    ],
    ids=lambda case: case.shown,
)
def test_what_was_said_with_a_sentence_stands_behind_it(case: Case) -> None:
    assert written("message routed", channel=case.value) == f"message routed channel={case.shown}"


def test_several_fields_stand_in_their_order() -> None:
    assert written("message routed", session="ses-1", channel="local") == (
        "message routed session=ses-1 channel=local"
    )


def test_only_what_concerns_people_is_said_of_libraries() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    lines = [line.split(maxsplit=2)[2] for line in done.stderr.splitlines()]
    assert lines == [
        "INFO    salver_server.intake: message routed channel=local",
        "WARNING library: trouble",
    ]
