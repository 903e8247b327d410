"""What a conversation survives: its sandbox, its home and the server, killed in mid-turn or between turns."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.crash.harness import House
from tests.journeys import inside
from tests.journeys.conftest import Build
from tests.journeys.providers import DEMO, Model, Provider
from tests.journeys.talk import Talk
from tests.journeys.waiting import in_time, until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

ADOPTED = 2.0
"""Seconds from a server's start to its care for a runner that went on without one."""


def test_a_turn_whose_sandbox_is_killed_is_taken_again_and_told_what_was_done(
    home: House, talk: Talk
) -> None:
    once = "test -e been-here || { touch been-here; sleep 1004; }"
    sent = talk.say(f"!shell {once}")
    until(lambda: "sleep 1004" in inside.commands(talk.session))
    os.kill(inside.init(talk.session), signal.SIGKILL)

    talk.reply(sent)
    home.verify()
    assert home.ask_after(sent)["attempts"] == 2
    assert talk.look()["generation"] == 2
    assert [
        told for told in what_the_agent_was_told(home, talk) if "cut off" in told and once in told
    ]


def what_the_agent_was_told(home: House, talk: Talk) -> list[str]:
    """What its provider was given and keeps, turn by turn."""
    return [
        body
        for (body,) in home.rows(
            "SELECT body FROM continuations WHERE session = ? ORDER BY rowid", [talk.session]
        )
    ]


def test_a_conversation_goes_on_when_sandbox_and_home_are_gone(
    home: House, talk: Talk, provider: Provider
) -> None:
    talk.ask(f"{provider.keep} The parrot is called Pia.")
    own = home.home / "homes" / talk.session
    transcript = own / "transcript.md"
    until(transcript.exists)
    assert home.kill_sandboxes()
    until(lambda: talk.look()["sandbox"] == "asleep")
    shutil.rmtree(own)

    second = talk.say("!recall")
    assert "The parrot is called Pia." in talk.reply(second)
    until(lambda: second.token in read(transcript))
    assert "The parrot is called Pia." in read(transcript)


def read(transcript: Path) -> str:
    return transcript.read_text(encoding="utf-8") if transcript.exists() else ""


def test_a_turn_survives_the_death_of_the_server(home: House, talk: Talk) -> None:
    sent = talk.running(talk.say("!shell sleep 1.5\n!slow 0.5"))
    until(lambda: "sleep 1.5" in inside.commands(talk.session))
    runner = inside.everyone(talk.session)

    home.kill()
    began = time.monotonic()
    home.start()
    assert talk.look()["sandbox"] == "live"
    assert time.monotonic() - began < in_time(ADOPTED)

    talk.reply(sent)
    home.verify()
    assert inside.alive(runner)[:2] == runner[:2]
    assert (home.ask_after(sent)["attempts"], talk.look()["generation"]) == (1, 1)


def test_a_turn_that_ends_while_no_server_runs_is_delivered_by_the_next_one(build: Build) -> None:
    home = build(DEMO)
    home.start()
    talk = Talk(home=home)
    sent = talk.running(talk.say("!slow 0.3"))
    home.kill()
    transcript = home.home / "homes" / talk.session / "transcript.md"
    until(lambda: sent.token in read(transcript))

    home.start()
    talk.reply(sent)
    home.verify()
    assert home.ask_after(sent)["attempts"] == 1


def test_a_model_call_that_is_cut_by_a_restart_is_waited_for_and_repeated(
    build: Build, model: Model
) -> None:
    home = build(model.provider)
    home.start()
    talk = Talk(home=home)
    sent = talk.say("How is the weather on Mars?\n!say It begins.\n!slow 1.5")
    until(lambda: len(model.requests("weather on Mars")) == 1)
    runner = inside.everyone(talk.session)

    home.kill()
    time.sleep(0.5)  # The runner has to wait for a server, not only to try again.
    home.start()

    assert talk.reply(sent).count("It begins.") == 1
    home.verify()
    assert len(model.requests("weather on Mars")) == 2
    assert inside.alive(runner) == runner
    assert home.ask_after(sent)["attempts"] == 1


def test_a_message_that_kills_every_runner_fails_alone(build: Build) -> None:
    """The one that came with it is answered; the person is told what happened."""
    home = build(DEMO)
    home.start()
    talk = Talk(home=home)
    talk.ask()
    sent = talk.say("!crash", ends=("failed",))
    with_it = talk.say()
    assert "3 times" in talk.end(sent)["reason"]
    assert with_it.token in talk.reply(with_it)
    home.verify()
    failures = [one for one in talk.look()["deliveries"] if one["kind"] == "failure"]
    assert [one["answers"] for one in failures] == [[sent.id]]
