"""Who must leave: for want of room, for idleness, for making no progress; and that nothing is lost by it."""

import re
import signal
import time

import pytest

from tests.crash.harness import Sent
from tests.journeys import inside
from tests.journeys.conftest import Build
from tests.journeys.talk import Talk
from tests.journeys.waiting import in_time, until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

NEVER = "86400"
"""Seconds between two sweeps where none must help."""


def test_six_sessions_share_two_sandboxes_in_the_order_of_their_coming(build: Build) -> None:
    home = build(SALVER_MOST_SANDBOXES="2", SALVER_SWEEP=NEVER)
    home.start()
    talks = [Talk(home=home) for _ in range(6)]
    sent: list[Sent] = []
    for talk in talks:
        sent.append(one := talk.say("!slow 0.3"))
        # Who came first is who was handed over first.
        until(lambda talk=talk, one=one: talk.state(one) != "received")
    troubles = {event.get("trouble") for event in talks[-1].follow(sent[-1])}
    assert "It waits for one of the 2 sandboxes." in troubles

    most = 0
    for talk, one in zip(talks, sent, strict=True):
        until(lambda talk=talk, one=one: talk.state(one) == "delivered")
        most = max(most, home.ask("GET", "/status")["sandboxes"])
    assert most <= 2
    home.verify()
    began = re.findall(r"runner started session=(\S+)", home.log())
    # Two start at a time, and either may be the quicker one.
    assert all(abs(began.index(talk.session) - place) <= 1 for place, talk in enumerate(talks))


def test_six_sessions_that_are_woken_at_once_share_two_sandboxes(build: Build) -> None:
    home = build(SALVER_MOST_SANDBOXES="2", SALVER_SWEEP=NEVER)
    home.start()
    home.ask("POST", "/stop")
    for _ in range(6):
        Talk(home=home).say()
    home.ask("POST", "/resume")
    home.settle()
    home.verify()


def test_a_session_that_never_falls_silent_makes_room_all_the_same(build: Build) -> None:
    home = build(SALVER_MOST_SANDBOXES="1")
    home.start()
    chatty, patient = Talk(home=home), Talk(home=home)
    chatty.running(chatty.say("!slow 0.3"))
    waiting = patient.say()
    for _ in range(20):
        if patient.state(waiting) == "delivered":
            break
        chatty.say("!slow 0.3")
        time.sleep(0.2)
    assert waiting.token in patient.replies()[waiting.id]
    home.settle()
    home.verify()


def test_an_idle_sandbox_ends_and_the_next_message_starts_another(build: Build) -> None:
    home = build(SALVER_IDLE="0.5")
    home.start()
    talk = Talk(home=home)
    talk.ask("!remember The hen is hungry.")
    until(lambda: not inside.init(talk.session), within=in_time(3))
    until(lambda: talk.look()["sandbox"] == "asleep")
    assert "The hen is hungry." in talk.ask("!recall")
    assert talk.look()["generation"] == 2
    home.verify()


def test_a_turn_that_hangs_is_ended_with_a_sentence_and_its_runner_goes_on(build: Build) -> None:
    home = build(SALVER_STALL="0.8")
    home.start()
    talk = Talk(home=home)
    hangs = talk.say("!hang", ends=("failed",))
    reason = "The turn showed no progress and was ended. Send the message again."
    assert talk.end(hangs)["reason"] == reason
    assert [one["text"] for one in talk.look()["deliveries"] if one["kind"] == "failure"] == [
        reason
    ]
    assert "nudges=1" in home.log()
    talk.ask()
    assert talk.look()["generation"] == 1
    home.verify()


def test_a_tool_that_is_silent_for_long_is_no_turn_that_hangs(build: Build) -> None:
    home = build(SALVER_STALL="0.5")
    home.start()
    talk = Talk(home=home)
    talk.ask("!shell sleep 2")
    assert "nudges=2" not in home.log()


def test_a_runner_that_stands_still_is_ended_and_loses_nothing(build: Build) -> None:
    home = build(SALVER_STALL="0.8")
    home.start()
    talk = Talk(home=home)
    sent = talk.running(talk.say("!slow 0.5"))
    for process in inside.everyone(talk.session):
        process.send_signal(signal.SIGSTOP)
    follow_up = talk.say()
    home.settle()
    home.verify()
    assert {sent.id, follow_up.id} <= set(talk.replies())
    assert talk.look()["generation"] == 2
