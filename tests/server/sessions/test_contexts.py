from dataclasses import dataclass
from typing import Any

import pytest

from salver_server.errors import Broken
from salver_server.sessions import contexts
from salver_server.sessions.contexts import LARGEST, MOST_MESSAGES, Context, Part
from tests.server.sessions.conftest import Talk

HISTORY = {"part": "history", "characters": 400, "tokens": 100, "count": 3}
BODY: dict[str, Any] = {
    "model": "openai/gpt-5",
    "window": 400_000,
    "used": 1200,
    "compacted": False,
    "parts": [{"part": "base", "characters": 40, "tokens": 10, "count": 1}, HISTORY],
    "messages": [1],
}


async def latest(talk: Talk, *, turn: int | None = None, most: int = 20) -> list[Context]:
    return await talk.read(lambda conn: contexts.latest(conn, talk.session, turn=turn, most=most))


async def test_what_a_turn_went_by_is_kept(talk: Talk) -> None:
    await talk.take(talk.scribe.claim(1), talk.scribe.row("context", **BODY))
    assert await latest(talk) == [
        Context(
            turn=1,
            model="openai/gpt-5",
            window=400_000,
            used=1200,
            compacted=False,
            parts=(
                Part(part="base", characters=40, tokens=10, count=1),
                Part(part="history", characters=400, tokens=100, count=3),
            ),
            messages=(1,),
            recorded_at=talk.desk.clock.stamp(),
        )
    ]


async def test_the_latest_turns_come_in_order_and_one_by_its_number(talk: Talk) -> None:
    for turn in (1, 2, 3):
        talk.scribe.turn = turn
        await talk.take(talk.scribe.row("context", **BODY))
    assert [context.turn for context in await latest(talk)] == [1, 2, 3]
    assert [context.turn for context in await latest(talk, most=2)] == [2, 3]
    assert [context.turn for context in await latest(talk, turn=2)] == [2]


@dataclass(frozen=True, kw_only=True)
class Lie:
    id: str
    change: dict[str, Any]


LIES = [
    Lie(id="no model", change={"model": 7}),
    Lie(id="a model's name that moves the cursor", change={"model": "\x1b[2J"}),
    Lie(id="a model's name without end", change={"model": "m" * 301}),
    Lie(id="a number below zero", change={"used": -1}),
    Lie(id="a number without end", change={"window": LARGEST + 1}),
    Lie(id="half a token", change={"used": 0.5}),
    Lie(id="truth as a number", change={"used": True}),
    Lie(id="a number as truth", change={"compacted": 1}),
    Lie(id="no parts", change={"parts": None}),
    Lie(id="a part that is none", change={"parts": ["base"]}),
    Lie(id="a part of an unknown kind", change={"parts": [HISTORY | {"part": "secrets"}]}),
    Lie(id="too many parts", change={"parts": [HISTORY] * 10}),
    Lie(id="a message that was never handed over", change={"messages": [99]}),
    Lie(id="too many messages", change={"messages": [1] * (MOST_MESSAGES + 1)}),
    Lie(id="no messages", change={"messages": "1"}),
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.id)
async def test_what_is_not_true_of_a_context_is_not_believed(talk: Talk, lie: Lie) -> None:
    with pytest.raises(Broken):
        await talk.take(talk.scribe.row("context", **(BODY | lie.change)))
    assert await latest(talk) == []
