"""Conversations that grow beyond their model's window, with a scripted model that refuses what is too long."""

import asyncio
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from salver_runner.context import Context
from salver_runner.tools import Result
from salver_runner.turn import Failed
from tests.fakes.model import Received, ScriptedModel
from tests.runner.bus import LineEnd
from tests.runner.providers.conftest import Session, silent_line, tool
from tests.runner.providers.test_pydantic_ai import until

WINDOW = 8000
"""Tokens; a letter is a quarter of one."""
LONG = "\n".join(["some more words about nothing at all"] * 250)


@pytest.fixture(autouse=True)
def small(session: Session, model: ScriptedModel) -> None:
    """A model that takes little, and says so."""
    [choice] = session.launch.models
    session.launch = replace(session.launch, models=(replace(choice, window=WINDOW),))
    session.tools = {}
    model.context = WINDOW * 4


def summaries(model: ScriptedModel) -> list[Received]:
    return [it for it in model.requests if it.user_texts[-1].startswith("<conversation>")]


def parts(context: Context | None) -> dict[str, Any]:
    assert context
    return {it["part"]: it for it in json.loads(json.dumps(context.record()["parts"]))}


async def test_a_conversation_that_overflows_goes_on_and_remembers_its_beginning(
    session: Session, model: ScriptedModel
) -> None:
    await session.ask("fact: the number is 7\n!say noted")
    for _ in range(6):
        await session.ask(f"{LONG}\n!say I see")
    assert "fact: the number is 7" in await session.ask("!recall")
    assert len(summaries(model)) >= 2
    assert all(context.used <= WINDOW for turn in session.turns if (context := turn.context))
    roles = [message["role"] for message in model.requests[-1].messages]
    assert roles[:2] == ["system", "user"]
    assert model.requests[-1].user_texts[0].startswith("<summary>\nfact: the number is 7")
    compacted = [turn for turn in session.turns if turn.anew]
    assert [turn.context.compacted for turn in compacted if turn.context] == [True] * len(compacted)
    assert parts(compacted[0].context)["summary"]["count"] == 1


async def test_people_see_that_it_is_compacted(session: Session) -> None:
    await session.ask("fact: the number is 7\n!say noted")
    with tempfile.TemporaryDirectory(prefix="line-") as folder:  # sockets want short paths
        async with LineEnd(Path(folder) / "line") as end, asyncio.TaskGroup() as tasks:
            session.line = silent_line(Path(folder) / "line")
            keeping = tasks.create_task(session.line.keep())
            await session.line.tried()
            for _ in range(5):
                await session.ask(f"{LONG}\n!say I see")
            begun, ended, *_ = await end.until(lambda: end.heard("tool", "tool-end")[:2])
            keeping.cancel()
    assert (begun["kind"], begun["text"]) == ("tool", "compacting the conversation")
    assert (ended["kind"], ended["text"]) == ("tool-end", "done")


async def test_a_new_runner_goes_on_from_the_summary(
    session: Session, model: ScriptedModel
) -> None:
    await session.ask("fact: the number is 7\n!say noted")
    for _ in range(4):
        await session.ask(f"{LONG}\n!say I see")
    session.history = json.loads(json.dumps(session.history))
    assert len(session.history) < 6
    asked = len(model.requests)
    assert "fact: the number is 7" in await session.ask("!recall")
    assert len(model.requests) == asked + 1


async def test_the_summary_is_asked_for_without_tools_and_is_no_part_of_the_reply(
    session: Session, model: ScriptedModel
) -> None:
    session.tools = tool("shell", lambda _: Result(text="ok"))
    await session.ask("fact: <now>the</now> number is 7\n!shell true\n!say noted")
    for _ in range(3):
        assert await session.ask(f"{LONG}\n!say I see") == "I see"
    summary = summaries(model)[0]
    assert "tools" not in summary.body
    assert summary.messages[0]["content"].startswith("You keep the memory of a conversation")
    [text] = summary.user_texts
    assert "[the agent called shell]\n{" in text
    assert "[shell returned]\nok" in text
    assert "fact: &lt;now>the&lt;/now> number is 7" in text


async def test_what_a_long_turn_was_asked_stays_word_for_word(
    session: Session, model: ScriptedModel
) -> None:
    session.tools = tool("shell", lambda _: Result(text=LONG))
    orders = "\n".join(["!shell more"] * 6)
    await session.ask(f"fact: the number is 7\n{orders}\n!say done")
    assert summaries(model)
    last = model.requests[-1]
    assert [message["role"] for message in last.messages][:3] == ["system", "user", "user"]
    assert "\nfact: the number is 7\n!shell more" in last.user_texts[1]
    assert await session.ask("!say next") == "next"


async def test_a_message_that_alone_is_too_long_is_shortened(
    session: Session, model: ScriptedModel
) -> None:
    await session.ask("x" * 60_000 + "\n!say I see")
    [request] = model.requests
    assert "characters left out …]" in request.user_texts[0]
    assert len(request.user_texts[0]) <= WINDOW + 100


async def test_results_that_together_are_too_long_are_shortened(
    session: Session, model: ScriptedModel
) -> None:
    session.tools = tool("shell", lambda _: Result(text="y" * 30_000))
    calls = " ;; ".join(["more"] * 8)
    assert await session.ask(f"!shells {calls}\n!say done") == "done"
    assert sum(len(str(message["content"])) for message in model.requests[-1].messages) < 32_000
    assert await session.ask("!say next") == "next"


async def test_a_vendor_that_takes_less_than_it_says_is_met_halfway(
    session: Session, model: ScriptedModel
) -> None:
    model.context = 16_000
    await session.ask("fact: the number is 7\n!say noted")
    for _ in range(3):
        await session.ask(f"{LONG[:6000]}\n!say I see")
    assert "fact: the number is 7" in await session.ask("!recall")
    assert summaries(model)


async def test_where_even_that_does_not_help_the_person_is_told(
    session: Session, model: ScriptedModel
) -> None:
    model.context = 1000
    with pytest.raises(Failed, match="too long for the model 'scripted'"):
        await session.ask(f"{LONG}\n!say I see")
    assert session.turns[0].kept == []


async def test_without_a_summary_the_request_is_tried_as_it_is(
    session: Session, model: ScriptedModel
) -> None:
    model.sums_up = "nothing"
    replies = [await session.ask(f"{LONG[:4000]}\n!say still") for _ in range(7)]
    assert replies == ["still"] * 7
    assert summaries(model)
    assert not any(turn.anew for turn in session.turns)


async def test_stopped_while_it_is_compacted_a_conversation_stays_as_it_was(
    session: Session, model: ScriptedModel
) -> None:
    model.sums_up = "never"
    await session.ask("fact: the number is 7\n!say noted")
    for _ in range(4):
        await session.ask(f"{LONG[:5000]}\n!say I see")
    session.write(f"{LONG[:5000]}\n!say I see")
    turn = session.begin()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(session.run(turn))
        await until(lambda: bool(summaries(model)))
        running.cancel()
    assert turn.said == []
    assert not turn.anew
    assert [message["kind"] for message in turn.kept] == ["request"]
    model.sums_up = "facts"
    assert "fact: the number is 7" in await session.ask("!recall")


async def test_a_person_may_order_it(session: Session) -> None:
    await session.ask("fact: the number is 7\n!say noted")
    await session.ask(f"{LONG[:4000]}\n!say I see")
    await session.ask(f"{LONG[:4000]}\n!say I see")
    shorter = await session.provider.compact(session.begin())
    assert len(json.dumps(shorter)) < len(json.dumps(session.history)) / 2
    session.history = shorter
    assert "fact: the number is 7" in await session.ask("!recall")


async def test_what_is_short_already_stays_as_it_is(session: Session, model: ScriptedModel) -> None:
    await session.ask("fact: the number is 7\n!say noted")
    assert await session.provider.compact(session.begin()) == session.history
    assert len(model.requests) == 1


async def test_a_model_that_gives_no_summary_is_told_of_when_ordered(
    session: Session, model: ScriptedModel
) -> None:
    for _ in range(3):
        await session.ask(f"{LONG[:6000]}\n!say I see")
    model.sums_up = "nothing"
    with pytest.raises(Failed, match="gave no summary"):
        await session.provider.compact(session.begin())
