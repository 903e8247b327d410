"""Who is asked, how often, and what the person and the next model are told of it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from salver_runner.launch import Choice
from salver_runner.providers.pydantic_ai import PydanticAI
from salver_runner.providers.pydantic_ai.asking import Patience
from salver_runner.tools import Result
from salver_runner.turn import Failed
from tests.fakes.model import MODEL, ScriptedModel
from tests.runner.providers.conftest import TOKEN, Session, patient, talking, tool
from tests.runner.providers.hall import Hall

OPENAI = Choice(provider="openai", wire="responses", model=MODEL, window=0, sees=True)
ANTHROPIC = Choice(provider="anthropic", wire="anthropic", model=MODEL, window=0, sees=True)
OLLAMA = Choice(provider="ollama", wire="chat", model=MODEL, window=0, sees=False)
FAKES = {"openai": "responses", "anthropic": "anthropic", "ollama": "ollama", "google": "google"}


@pytest.fixture
def models(hall: Hall) -> dict[str, ScriptedModel]:
    return {
        name: hall.invite(name, ScriptedModel(wire=wire, key=TOKEN)) for name, wire in FAKES.items()
    }


@pytest.fixture
def session(
    models: dict[str, ScriptedModel],  # noqa: ARG001 - they answer
    hall: Hall,
    tmp_path: Path,
    workspace: Path,  # noqa: ARG001 - turns run in it
) -> Session:
    return talking(tmp_path, hall.path, OPENAI, OLLAMA)


def refuse_the_key(model: ScriptedModel) -> None:
    model.key = "another"


async def test_the_next_model_answers_and_says_why(
    session: Session, models: dict[str, ScriptedModel], hall: Hall
) -> None:
    refuse_the_key(models["openai"])
    assert await session.ask("!say hello") == (
        "*OpenAI refused the key; scripted on Ollama answers instead.*\n\nhello"
    )
    assert hall.asked == ["openai", "ollama"]
    assert "refused the key" not in json.dumps(session.history)


async def test_trouble_that_may_pass_is_waited_out_before_another_is_asked(
    session: Session, models: dict[str, ScriptedModel], hall: Hall
) -> None:
    models["openai"].refuses = 503
    reply = await session.ask("!say hello")
    assert reply == "*OpenAI has trouble of its own; scripted on Ollama answers instead.*\n\nhello"
    assert hall.asked == ["openai"] * 4 + ["ollama"]


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (402, "the account at OpenAI has reached its limit"),
        (404, "OpenAI does not know the model scripted"),
        (429, "OpenAI wants fewer requests for now"),
    ],
)
async def test_the_reason_is_told_in_a_few_words(
    session: Session, models: dict[str, ScriptedModel], status: int, why: str
) -> None:
    models["openai"].refuses = status
    reply = await session.ask("!say hello")
    assert reply == f"*{why}; scripted on Ollama answers instead.*\n\nhello"


async def test_what_is_wrong_with_the_request_is_asked_of_nobody_else(
    session: Session, models: dict[str, ScriptedModel], hall: Hall
) -> None:
    models["openai"].refuses = 413
    with pytest.raises(Failed, match="too long for the model"):
        await session.ask("!say hello")
    assert hall.asked == ["openai"]
    assert session.history == []


async def test_nobody_left_means_one_sentence_for_each(
    session: Session, models: dict[str, ScriptedModel]
) -> None:
    refuse_the_key(models["openai"])
    models["ollama"].models = []
    with pytest.raises(Failed) as failure:
        await session.ask("!say hello")
    first, second = str(failure.value).split("\n")
    assert first.startswith("OpenAI refused the key. Set a valid one with `salver provider set")
    assert second.startswith("Ollama has no model 'scripted'. Fetch it with `ollama pull scripted`")
    assert session.turns[0].said == []


async def test_in_the_middle_of_a_turn_the_next_model_goes_on_from_the_same_place(
    session: Session, models: dict[str, ScriptedModel]
) -> None:
    def used_up(_: Mapping[str, object]) -> Result:
        models["openai"].refuses = 402
        return Result(text="42")

    session.tools = tool("shell", used_up)
    session.launch = replace(session.launch, models=(OPENAI, ANTHROPIC))
    reply = await session.ask("!say I look\n!think hmm\n!shell x\n!say done")
    assert reply == (
        "I look\n\n*the account at OpenAI has reached its limit; scripted on Anthropic answers"
        " instead.*\n\ndone"
    )
    asked = json.dumps(models["anthropic"].requests[0].body)
    assert "42" in asked
    assert '"thinking"' not in asked
    models["openai"].refuses = 0
    session.provider = patient(Patience(pauses=()))
    assert await session.ask("!say back again") == "back again"
    assert "done" in json.dumps(models["openai"].requests[-1].body)


@pytest.mark.parametrize("wire", ["google", "anthropic", "responses"])
async def test_a_conversation_goes_from_vendor_to_vendor_and_back(
    session: Session, models: dict[str, ScriptedModel], wire: str
) -> None:
    """Signed and sealed thoughts, and ids, go back to nobody but the one who gave them."""
    names = {"google": "google", "anthropic": "anthropic", "responses": "openai"}
    other = replace(OPENAI, provider=names[wire], wire=wire)
    session.tools = tool("shell", lambda _: Result(text="ok"))
    for choice in (other, OLLAMA, OPENAI, ANTHROPIC, other):
        session.launch = replace(session.launch, models=(choice,))
        assert await session.ask("!think hmm\n!shells a ;; b\n!say done") == "done"
    assert len(models[names[wire]].requests) >= 4


async def test_whoever_had_to_answer_is_asked_first_for_a_while(
    session: Session, models: dict[str, ScriptedModel], hall: Hall
) -> None:
    refuse_the_key(models["openai"])
    await session.ask("!say hello")
    assert await session.ask("!say no reason again") == "no reason again"
    assert hall.asked == ["openai", "ollama", "ollama"]


async def test_after_that_while_the_first_choice_is_asked_again(
    session: Session, models: dict[str, ScriptedModel], hall: Hall
) -> None:
    session.provider = patient(Patience(pauses=(), rest=0))
    refuse_the_key(models["openai"])
    await session.ask("!say hello")
    models["openai"].key = TOKEN
    assert await session.ask("!say hello") == "hello"
    assert hall.asked == ["openai", "ollama", "openai"]


async def test_a_turn_repeats_no_more_than_a_few_requests_in_all(
    session: Session, models: dict[str, ScriptedModel]
) -> None:
    session.tools = tool("shell", lambda _: Result(text="ok"))
    session.launch = replace(session.launch, models=(OPENAI,))
    troubles = "".join(f"!fail 50{number} 3\n!shell x\n" for number in range(5))
    with pytest.raises(Failed, match="trouble of its own"):
        await session.ask(troubles)
    assert len(models["openai"].requests) == 3 * 4 + 1


async def test_pauses_are_spread(session: Session, models: dict[str, ScriptedModel]) -> None:
    asked: list[float] = []

    def spread() -> float:
        asked.append(0.0)
        return 0.0

    session.provider = PydanticAI(Patience(pauses=(0.002,)), spread=spread)
    await session.ask("!fail 503 1\n!say hello")
    assert len(models["openai"].requests) == 2
    assert asked == [0.0]


async def test_a_request_tells_the_turn_and_the_sessions_token(
    session: Session, models: dict[str, ScriptedModel]
) -> None:
    session.launch = replace(session.launch, models=(ANTHROPIC,))
    await session.ask("!say hello")
    await session.ask("!say hello")
    headers = [one.headers for one in models["anthropic"].requests]
    assert [(one["x-salver-turn"], one["x-api-key"]) for one in headers] == [
        ("1", TOKEN),
        ("2", TOKEN),
    ]
