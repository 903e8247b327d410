"""What is said while an agent is busy: the queue and its changes, and the commands, which the server obeys at once."""

import time

import pytest

from tests.crash.harness import House, Sent
from tests.journeys.providers import Provider
from tests.journeys.talk import Talk
from tests.journeys.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]


@pytest.fixture
def busy(house: House) -> Talk:
    """A conversation in which a turn runs until it is stopped."""
    talk = Talk(home=house)
    talk.running(talk.say("!shell sleep 1005", ends=("stopped",)))
    return talk


def queue(talk: Talk, *texts: str) -> list[Sent]:
    return [talk.say(text, when="free") for text in texts]


def test_the_queue_is_changed_while_the_agent_works_and_answered_turn_by_turn(
    house: House, busy: Talk
) -> None:
    first, second, third, fourth = queue(busy, "!say one", "!say two", "!say three", "!say four")
    assert busy.queued() == [first.id, second.id, third.id, fourth.id]
    text = f"!say zwei\n!say {second.token}"
    house.ask("PATCH", f"/messages/{second.id}", json={"text": text})
    house.ask("POST", f"/messages/{third.id}/move", json={"position": 1})
    fourth.ends = ("cancelled",)
    busy.cancel(fourth)
    assert busy.queued() == [third.id, first.id, second.id]

    busy.stop()
    house.settle()
    house.verify()
    replies = [one for one in busy.look()["deliveries"] if one["kind"] == "reply"]
    assert [(one["text"].split()[0], one["answers"]) for one in replies] == [
        ("three", [third.id]),
        ("one", [first.id]),
        ("zwei", [second.id]),
    ]
    assert turns(house, third, first, second) == [2, 3, 4]


def turns(house: House, *sent: Sent) -> list[int]:
    return [
        house.rows("SELECT turn FROM handovers WHERE message = ?", [one.id])[0][0] for one in sent
    ]


def test_what_is_queued_is_answered_though_server_and_runner_are_killed(
    house: House, busy: Talk
) -> None:
    sent = queue(busy, "!say one", "!slow 0.3\n!say two", "!say three")
    house.kill()
    house.start()
    busy.stop()
    busy.running(sent[1])
    house.kill()
    house.kill_sandboxes()
    house.start()
    house.settle()
    house.verify()
    everything = "\n".join(busy.replies().values())
    assert sorted(sent, key=lambda one: everything.index(one.token)) == sent
    assert len(set(turns(house, *sent))) == 3


def test_every_command_is_answered_while_a_turn_runs(house: House, busy: Talk) -> None:
    waiting = queue(busy, "!say later")
    began = time.monotonic()
    assert "Messages: 1 running, 0 waiting, 1 in the queue." in busy.command("/help")
    assert busy.command("/model").startswith("Model: demo. ")
    assert "calls no model" in busy.command("/model tiny")
    assert busy.command("/compact") == "I will compact the conversation after this turn."
    assert busy.command("/clear").startswith("Cleared: what was said before is still answered")
    assert busy.command("/stop").startswith("Stopping: messages 1 running.")
    assert time.monotonic() - began < 3
    house.settle()
    house.verify()
    assert waiting[0].token in busy.reply(waiting[0])


def test_what_is_cleared_is_forgotten_for_good(home: House, talk: Talk, provider: Provider) -> None:
    talk.ask(f"{provider.keep} The horse is called Hugo.")
    assert "Hugo" in talk.ask("!recall")
    assert talk.command("/clear") == "Cleared: the next message starts afresh."
    assert "Hugo" not in talk.ask("!recall")
    home.kill()
    home.kill_sandboxes()
    home.start()
    assert "Hugo" not in talk.ask("!recall")


def test_what_is_compacted_keeps_what_counts(house: House) -> None:
    talk = Talk(home=house)
    talk.ask("!remember The horse is called Hugo.")
    for _ in range(5):
        talk.ask("!say " + "blah " * 20)
    assert talk.command("/compact") == "I am compacting the conversation."
    until(lambda: any("is compacted" in one for one in said(talk)))
    assert "Hugo" in talk.ask("!recall")
    house.kill_sandboxes()
    assert "Hugo" in talk.ask("!recall")
    house.verify()


def said(talk: Talk) -> list[str]:
    return [one["text"] for one in talk.look()["deliveries"] if one["kind"] == "send"]
