"""What a turn costs is seen, and a budget ends it in words that say how to go on."""

import json
from typing import Any

import pytest

from tests.crash.harness import House
from tests.fakes.model import MODEL
from tests.journeys.conftest import Build, write_agent
from tests.journeys.providers import Model, Provider
from tests.journeys.talk import Talk
from tests.journeys.terminal import salver
from tests.journeys.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

DEAR = 1_000
"""Dollars for a million tokens, which makes a thousandth of one for each."""


@pytest.fixture
def talk(build: Build, model: Model) -> Talk:
    """A conversation with an agent whose model has a price."""
    home = build(model.provider)
    (home.home / "prices.toml").write_text(
        f'[[price]]\nprovider = "openai-compatible"\nmodel = "{MODEL}"\ninput = {DEAR}\noutput = {DEAR}\n',
        encoding="utf-8",
    )
    home.start()
    return Talk(home=home)


def test_what_a_turn_took_and_cost_is_seen_by_turn_by_message_and_by_day(talk: Talk) -> None:
    talk.ask("!shell true\n!say Done.")
    (turn,) = usage(talk.home, "--by", "turn", "--session", talk.session)["lines"]
    assert (turn["calls"], turn["failed"], turn["untold"], turn["unpriced"]) == (2, 0, 0, 0)
    assert turn["input"] > 0
    assert turn["cost"] == (turn["input"] + turn["output"]) * DEAR
    session = talk.look()
    (message,) = session["messages"]
    assert message["spent"]["cost"] == session["spent"]["cost"] == turn["cost"]
    assert usage(talk.home, "--days", "1")["total"]["cost"] == turn["cost"]


def test_what_a_running_turn_took_so_far_is_seen(talk: Talk) -> None:
    sent = talk.running(talk.say("!shell true\n!hold", ends=("stopped",)))
    until(lambda: spent(talk, sent.id)["calls"] == 2, what=talk.look)
    so_far = spent(talk, sent.id)
    assert so_far["running"] == 1
    assert so_far["cost"] > 0
    talk.stop()
    talk.end(sent)
    until(lambda: spent(talk, sent.id)["running"] == 0, what=talk.look)


def test_a_message_that_no_budget_is_left_for_fails_and_can_be_sent_again(
    talk: Talk, model: Model
) -> None:
    write_agent(talk.home, "salver", with_budget(model.provider, 0.5))
    sent = talk.say("!say Done.", ends=("failed",))
    ended = talk.end(sent)
    assert ended["state"] == "failed"
    assert ended["reason"].startswith(
        "Agent 'salver' has used $0.00 of $0.50 for today, and this call may take"
    )
    assert "raise budget.usd_per_day in its AGENT.md and send this again" in ended["reason"]
    assert model.requests(sent.id) == []
    assert usage(talk.home)["lines"] == []

    write_agent(talk.home, "salver", with_budget(model.provider, 10_000))
    again = talk.home.ask("POST", f"/messages/{sent.id}/retry")["id"]
    until(
        lambda: talk.home.ask("GET", f"/messages/{again}")["state"] == "delivered",
        what=lambda: (talk.look(), talk.home.log()[-4000:]),
    )
    found = usage(talk.home)
    (budget,) = found["budgets"]
    assert budget["used"] == found["total"]["cost"] > 0
    assert budget["held"] == 0


def spent(talk: Talk, message: str) -> dict[str, Any]:
    """What the turn of a message took so far."""
    (found,) = [it for it in talk.look()["messages"] if it["id"] == message]
    return found["spent"] or {"calls": 0}


def usage(home: House, *words: str) -> dict[str, Any]:
    done = salver(home, "usage", "--json", *words)
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def with_budget(provider: Provider, dollars: float) -> str:
    """An AGENT.md."""
    head, matter, body = provider.agent().split("---\n")
    return f"{head}---\n{matter}budget:\n  usd_per_day: {dollars}\n---\n{body}"
