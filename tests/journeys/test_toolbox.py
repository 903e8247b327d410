"""A model works with files inside a real sandbox, by the tools made for that."""

import pytest

from tests.journeys.conftest import Build
from tests.journeys.providers import Model
from tests.journeys.talk import Talk

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]


def test_a_model_writes_finds_reads_and_edits_files(build: Build, model: Model) -> None:
    home = build(model.provider)
    home.start()
    talk = Talk(home=home)
    reply = talk.ask(
        '!call write {"path": "notes/list", "text": "brown bread\\n"}\n'
        '!call grep {"pattern": "b\\\\w+d"}\n'
        '!call glob {"pattern": "**/li*"}\n'
        '!call edit {"path": "/workspace/notes/list", "old": "brown", "new": "white"}\n'
        '!call read {"path": "notes/list"}\n'
        '!call remember {"text": "Ada buys bread"}\n'
        "!say done"
    )
    assert reply.startswith("done")
    last = model.requests("Ada buys bread")[-1]
    results = [message["content"] for message in last if message["role"] == "tool"]
    assert results == [
        "Made notes/list: 1 line.",
        "notes/list:1: brown bread",
        "notes/list",
        "Changed 1 place in /workspace/notes/list:\n     1\twhite bread\n     2\t",
        "     1\twhite bread",
        "Noted in MEMORY.md.",
    ]
    talk.ask("!say remembered")
    system = model.requests("!say remembered")[-1][0]["content"]
    assert system.endswith(": Ada buys bread\n</own-notes>")
