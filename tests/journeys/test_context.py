"""What an agent knows in a real sandbox: the house's base, its skills, and the past of a talk that outgrew its model."""

from typing import Any

import pytest

from tests.journeys.conftest import Build, write_agent
from tests.journeys.providers import Model
from tests.journeys.talk import Talk
from tests.journeys.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

LETTERS = "---\nname: letters\ndescription: How to write letters.\n---\nBegin politely.\n"
LONG = "\n".join(["some more words about nothing at all"] * 800)
"""Four of them are more than fits into a model of which nobody knows how much it takes."""


def test_an_agent_knows_the_house_s_base_and_reads_a_skill(build: Build, model: Model) -> None:
    home = build(model.provider)
    skill = home.home / "skills" / "letters"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(LETTERS, encoding="utf-8")
    (home.home / "agents" / "BASE.md").write_text("Speak like a sailor.", encoding="utf-8")
    text = model.provider.agent().replace("---\n", "---\nskills: [letters]\n", 1)
    write_agent(home, "salver", text)
    home.start()
    talk = Talk(home=home)
    talk.ask(
        '!call read {"path": "/salver/skills/letters/SKILL.md"}\n'
        "!shell touch /salver/skills/letters/mine\n!say read it"
    )
    *_, last = model.requests("Speak like a sailor.")
    results = [message["content"] for message in last if message["role"] == "tool"]
    assert "Begin politely." in results[0]
    assert "Read-only file system" in results[1]
    assert (
        "- letters (/salver/skills/letters/SKILL.md): How to write letters." in last[0]["content"]
    )
    [context] = contexts(talk)
    assert {"base", "instructions", "skills", "tools", "messages"} <= parts(context).keys()


def test_a_conversation_that_outgrows_its_model_goes_on_and_remembers(
    build: Build, model: Model
) -> None:
    home = build(model.provider)
    home.start()
    talk = Talk(home=home)
    talk.ask("fact: the number is 7\n!say noted")
    for _ in range(4):
        talk.ask(f"{LONG}\n!say I see")
    assert "fact: the number is 7" in talk.ask("!recall the first")
    [compacted] = [context for context in contexts(talk) if context["compacted"]]
    assert parts(compacted)["summary"]["count"] == 1
    assert compacted["used"] < 32_000

    for lost in (False, True):
        assert home.kill_sandboxes()
        until(lambda: talk.look()["sandbox"] == "asleep")
        if lost:
            home.put_outbound_aside(talk.session)
        words = f"!recall after {lost=}"
        assert "fact: the number is 7" in talk.ask(words)
        *_, last = model.requests(words)
        assert last[1]["content"].startswith("<summary>\nfact: the number is 7")
        assert sum(LONG[:1000] in str(message["content"]) for message in last) < 4


def contexts(talk: Talk) -> list[dict[str, Any]]:
    return talk.home.ask("GET", f"/sessions/{talk.session}/contexts")


def parts(context: dict[str, Any]) -> dict[str, Any]:
    return {part["part"]: part for part in context["parts"]}
