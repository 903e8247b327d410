"""What happens in one conversation: it streams, uses tools, remembers, takes follow-ups, stops when told to."""

import time

import pytest

from tests.crash.harness import House, Sent
from tests.journeys import inside
from tests.journeys.providers import Provider
from tests.journeys.talk import Talk
from tests.journeys.waiting import in_time, until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

FOLLOW_UPS = 36
STOPPED = 1.0
"""Seconds from a stop to the end of the turn and all that it started."""


def test_a_reply_is_seen_while_it_is_written_and_ends_whole(talk: Talk) -> None:
    sent = talk.say("!slow 0.2\n!say It goes on.\n!slow 0.3\n!say It ends.")
    pieces: list[str] = []
    last: dict[str, str] = {}
    for last in talk.follow(sent):
        if last["event"] == "text":
            assert pieces or talk.state(sent) == "running"
            pieces.append(last["text"])
    assert len(pieces) > 3
    assert last["event"] == "end"
    assert "".join(pieces).strip() == last["reply"] == talk.reply(sent)
    assert "It goes on." in last["reply"]


def test_a_tool_call_is_seen_with_what_it_prints(talk: Talk) -> None:
    sent = talk.say("!shell echo from the inside; pwd")
    seen = [(event["event"], event["text"]) for event in talk.follow(sent) if "text" in event]
    tools = [(kind, text) for kind, text in seen if kind.startswith("tool")]
    assert tools == [("tool", "shell echo from the inside; pwd"), ("tool-end", "done")]
    during = seen[seen.index(tools[0]) : seen.index(tools[1])]
    output = "".join(text for kind, text in during if kind == "output")
    assert output == "from the inside\n/workspace\n"


def test_the_second_turn_remembers_the_first(talk: Talk, provider: Provider) -> None:
    talk.ask(f"{provider.keep} The cat is called Mia.")
    assert "The cat is called Mia." in talk.ask("!recall")


def test_follow_ups_are_answered_in_order_whenever_they_come(home: House, talk: Talk) -> None:
    """Before, during and after the last request of a turn: by that turn or the next, each once."""
    sent = [talk.say("!slow 0.2\n!shell sleep 0.2")]
    for number in range(FOLLOW_UPS):
        time.sleep(0.003 * (number % 12))
        sent.append(talk.say("!slow 0.05" if number % 8 == 0 else ""))
    home.settle()
    sent.append(talk.say())
    home.settle()
    home.verify()
    replies = list(dict.fromkeys(talk.replies().values()))
    assert 1 < len(replies) < len(sent)
    everything = "\n".join(replies)
    assert sorted(sent, key=lambda one: everything.index(one.token)) == sent


def test_a_stop_ends_the_turn_and_all_that_it_started_within_a_second(
    talk: Talk, provider: Provider
) -> None:
    sent = talk.say(
        f"{provider.keep} The dog is called Rex.\n!shell setsid sleep 1001 & sleep 1002",
        ends=("stopped",),
    )
    until(lambda: {"sleep 1001", "sleep 1002"} <= set(inside.commands(talk.session)))
    runner, *started = inside.everyone(talk.session)[1:]
    assert len(started) >= 3

    began = time.monotonic()
    talk.stop()
    until(lambda: talk.state(sent) == "stopped")
    assert inside.alive(started) == []
    assert time.monotonic() - began < in_time(STOPPED)

    assert inside.alive([runner])
    assert talk.look()["sandbox"] == "live"
    assert "The dog is called Rex." in talk.ask("!recall")


def test_a_waiting_message_can_be_cancelled_and_is_never_answered(talk: Talk) -> None:
    running = talk.running(talk.say("!shell sleep 0.7"))
    cancelled = talk.say("!say Nobody should read this.", ends=("cancelled",))
    talk.cancel(cancelled)
    assert talk.end(cancelled)["state"] == "cancelled"
    assert talk.state(running) == "running"
    assert "Nobody" not in talk.reply(running) + talk.ask("!recall")


def test_a_message_that_was_seen_is_answered_although_it_is_cancelled(
    home: House, talk: Talk
) -> None:
    sent = talk.running(talk.say("!slow 0.5"))
    talk.cancel(sent)
    assert sent.token in talk.reply(sent)
    home.verify()


def test_a_stop_also_ends_what_waits_but_nothing_that_comes_later(home: House, talk: Talk) -> None:
    """A cold runner may still be loading its provider when it comes."""
    stopped = [talk.say("!shell sleep 1003", ends=("stopped",))]
    talk.running(stopped[0])
    stopped.append(talk.say(ends=("stopped",)))
    began = time.monotonic()
    talk.stop()
    later: Sent = talk.say()
    until(lambda: {talk.state(one) for one in stopped} == {"stopped"})
    assert time.monotonic() - began < in_time(STOPPED)
    assert later.token in talk.reply(later)
    home.verify()
