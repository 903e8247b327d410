"""From nothing set up to an answer of a real model, as somebody does it at a terminal; and what changes after that."""

import pytest

from tests.crash.harness import House
from tests.fakes.model import MODEL
from tests.journeys import inside
from tests.journeys.conftest import Build, write_agent
from tests.journeys.providers import DEMO, KEY, Model, Provider
from tests.journeys.talk import Talk
from tests.journeys.terminal import Done, salver
from tests.journeys.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

NOTHING = Provider(name="nothing", matter="", keep="!think")
"""An agent that names no provider, in a house where none is set up."""
VENDOR = "openai-compatible"


def set_up(home: House, url: str, *words: str, key: str = KEY) -> Done:
    done = salver(home, "provider", "set", VENDOR, "--base-url", url, *words, stdin=f"{key}\n")
    assert done.code == 0, done.err
    return done


def runs_with(home: House) -> str:
    return home.ask("GET", "/agents/salver")["runs_with"]


def test_a_provider_is_set_up_tried_and_answers(build: Build, model: Model) -> None:
    home = build(NOTHING)
    home.start()
    talk = Talk(home=home)
    talk.ask("hello")
    assert runs_with(home) == "demo"

    set_up(home, model.url, "--model", MODEL)
    tried = salver(home, "provider", "test", VENDOR)
    assert (tried.code, tried.out) == (0, f"OpenAI-compatible answers with {MODEL}.\n")
    assert runs_with(home) == f"{VENDOR}/{MODEL}"

    # The runner that was warm with the demo is not asked any more.
    first = inside.init(talk.session)
    talk.ask("What is in your workspace?")
    assert inside.init(talk.session) != first
    assert model.requests("What is in your workspace?")


def test_what_does_not_work_is_explained(build: Build, model: Model) -> None:
    home = build(NOTHING)
    home.start()
    set_up(home, model.url, "--model", "no-such-model")
    tried = salver(home, "provider", "test", VENDOR)
    assert tried.code == 1
    assert "OpenAI-compatible has no model 'no-such-model' for you." in tried.out
    assert f"It offers, among others: {MODEL}" in tried.out
    set_up(home, model.url, "--model", MODEL, key="sk-wrong")
    tried = salver(home, "provider", "test", VENDOR)
    assert (tried.code, "refused the key" in tried.out) == (1, True)
    set_up(home, "http://127.0.0.1:1/v1")
    tried = salver(home, "provider", "test", VENDOR)
    assert (tried.code, "cannot reach" in tried.out) == (1, True)


def test_what_was_said_before_a_provider_was_set_up_is_answered_then(
    build: Build, model: Model
) -> None:
    home = build(Provider(name=VENDOR, matter=f"provider: {VENDOR}\n", keep="!think"))
    home.start()
    talk = Talk(home=home)
    waiting = talk.say()
    home.wait_for_trouble(waiting, "OpenAI-compatible is not set up yet.")
    set_up(home, model.url, "--model", MODEL)
    assert talk.reply(waiting)


def test_another_one_stands_in_for_a_model_that_fails(build: Build, model: Model) -> None:
    home = build(NOTHING)
    write_agent(
        home,
        "salver",
        f"---\nprovider: ollama\nmodel: llama\nfallback: [{VENDOR}/{MODEL}]\n---\nTalk.\n",
    )
    home.start()
    done = salver(home, "provider", "set", "ollama", "--base-url", "http://127.0.0.1:1/v1")
    assert done.code == 0, done.err
    set_up(home, model.url)
    assert runs_with(home) == f"ollama/llama, {VENDOR}/{MODEL}"
    talk = Talk(home=home)
    assert talk.ask("Who are you?")
    assert model.requests("Who are you?")


def test_a_running_turn_keeps_its_account_and_the_next_one_has_the_new(
    build: Build, model: Model
) -> None:
    home = build(NOTHING)
    home.start()
    set_up(home, model.url, "--model", MODEL)
    talk = Talk(home=home)
    at_work = talk.say("Take your time.\n!slow 1\n!shell true")
    until(lambda: model.requests("Take your time."))
    salver(home, "provider", "remove", VENDOR)
    assert talk.reply(at_work)
    talk.ask("hello")
    assert runs_with(home) == "demo"
    assert home.ask("GET", "/providers")[0]["accounts"] == []


def test_a_conversation_may_have_another_model_than_its_agent(build: Build, model: Model) -> None:
    home = build(DEMO)
    home.start()
    set_up(home, model.url)
    talk = Talk(home=home)
    talk.ask("Here is the demo.")
    chosen = f"{VENDOR}/{MODEL}"
    assert talk.command(f"/model {chosen}") == f"Model: {chosen}, from the next turn on."
    talk.ask("Here is the model.")
    assert talk.command("/model default") == "Model: demo, as AGENT.md says, from the next turn on."
    talk.ask("Here is the demo again.")
    assert model.requests("Here is the model.")
    assert not model.requests("Here is the demo")
