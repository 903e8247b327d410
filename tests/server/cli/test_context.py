from typing import Any

from inline_snapshot import snapshot

from salver_server.app import Running
from tests.server.cli.conftest import Rude, Shell, saying
from tests.server.cli.test_commands import write

CONTEXT: dict[str, Any] = {
    "turn": 7,
    "model": "openai/gpt-5",
    "window": 400_000,
    "used": 12_400,
    "compacted": True,
    "parts": [
        {"part": "base", "characters": 2480, "tokens": 620, "count": 1},
        {"part": "history", "characters": 40_000, "tokens": 10_000, "count": 12},
    ],
    "messages": [3, 4],
    "recorded_at": "2030-01-02T12:00:00.000Z",
}


async def test_what_a_turn_went_by_is_shown_as_bars(shell: Shell, rude: Rude) -> None:
    rude.answers.append(saying([CONTEXT]))
    assert await shell.ok("sessions", "context", "ses-1", "--turn", "7") == snapshot("""\
Turn 7, openai/gpt-5: 12,400 tokens of 400,000 (3 %)
In this turn a summary took the place of the conversation's beginning.
part     count  characters  tokens
base     1      2,480       620     ██
history  12     40,000      10,000  ██████████████████████████████
Messages taken up: 3, 4
""")
    assert rude.asked == ["GET /sessions/ses-1/contexts?most=1&turn=7"]


async def test_a_window_that_nobody_knows_is_no_share(shell: Shell, rude: Rude) -> None:
    rude.answers.append(saying([CONTEXT | {"window": 0, "compacted": False, "parts": list[Any]()}]))
    assert await shell.ok("sessions", "context", "ses-1") == snapshot("""\
Turn 7, openai/gpt-5: 12,400 tokens
It had no part.
Messages taken up: 3, 4
""")


async def test_a_program_gets_it_as_json(shell: Shell, rude: Rude) -> None:
    rude.answers.append(saying([CONTEXT]))
    assert (await shell.run("sessions", "context", "ses-1", "--json")).json == [CONTEXT]


async def test_a_session_without_a_turn_says_so(shell: Shell, house: Running) -> None:
    await house.rooms.keeper.stop()
    _, session = await write(house)
    assert (await shell.ok("sessions", "context", session)).startswith("Nothing is on record")
