"""Following one message: each event once, in order, whatever the databases and the line say first."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from salver_server.api.follow import follow
from salver_server.ids import MessageId, SessionId
from salver_server.kit.hub import LONGEST_QUEUE, Lagging
from salver_server.messages import Progress
from salver_server.sessions import store, views
from tests.fakes.channel import PATIENCE
from tests.server.api.conftest import House
from tests.server.sessions.conftest import Scribe


class Follower:
    """Somebody who reads the events of one message as they come."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines

    async def next(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            return json.loads(await anext(self._lines))

    async def until(self, **fields: object) -> list[Any]:
        """The events up to the first that has these fields."""
        found: list[Any] = []
        while not (found and found[-1].items() >= fields.items()):
            found.append(await self.next())
        return found

    async def rest(self) -> list[Any]:
        """All that comes until the stream ends."""
        async with asyncio.timeout(PATIENCE):
            return [json.loads(line) async for line in self._lines]


@asynccontextmanager
async def following(house: House, message: Any) -> AsyncGenerator[Follower]:
    async with house.client.stream("GET", f"/messages/{message['id']}/events") as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        yield Follower(answer.aiter_lines())


def show(
    house: House,
    message: Any,
    text: str,
    *,
    turn: int = 1,
    kind: Literal["text", "again", "tool", "output", "tool-end"] = "text",
) -> None:
    """A runner shows what its turn is doing."""
    session = SessionId(message["session"])
    progress = Progress(session=session, turn=turn, kind=kind, text=text)
    house.running.rooms.hub.publish(session, progress)


def names(events: list[Any]) -> list[str]:
    """Events in short."""
    return [
        f"{event['event']} {event.get('state') or event.get('text') or event['delivery']['text']}"
        for event in events
    ]


@pytest.fixture
async def message(house: House) -> Any:
    """A message that was handed over to a runner."""
    message = await house.say()
    await house.hand_over(message["session"])
    await house.wake(message["session"])
    await house.state(message["id"], until="queued")
    return message


async def test_a_message_is_followed_from_where_it_is_to_its_end(
    house: House, message: Any
) -> None:
    scribe = Scribe()
    async with following(house, message) as follower:
        assert names(await follower.until(event="state")) == ["state queued"]
        await house.take(message["session"], scribe.claim(1))
        assert names(await follower.until(state="running")) == ["state running"]
        show(house, message, "shell", kind="tool")
        show(house, message, "h")
        show(house, message, "i")
        assert names(await follower.until(text="i")) == ["tool shell", "text h", "text i"]
        await house.take(message["session"], scribe.reply("hi", 1), scribe.ack(1))
        rest = await follower.rest()
    assert rest[-1] == {"event": "end", "state": "delivered", "reason": "", "reply": "hi"}
    assert [event for event in names(rest) if event != "state answered"] == [
        "state delivered",
        "delivery hi",
        "end delivered",
    ]


async def test_what_has_ended_is_told_at_once(house: House, message: Any) -> None:
    await house.answer(message, "hi")
    await house.state(message["id"], until="delivered")
    async with following(house, message) as follower:
        assert names(await follower.rest()) == ["state delivered", "delivery hi", "end delivered"]


async def test_live_text_that_comes_before_its_turn_is_known_is_shown_once_it_is(
    house: House, message: Any
) -> None:
    async with following(house, message) as follower:
        await follower.until(state="queued")
        show(house, message, "h")
        show(house, message, "i")
        await house.take(message["session"], Scribe().claim(1))
        show(house, message, "!")
        found = await follower.until(text="!")
    assert [name for name in names(found) if name.startswith("text")] == [
        "text h",
        "text i",
        "text !",
    ]


@pytest.mark.parametrize("quick", [False, True], ids=["claim first", "all at once"])
async def test_live_text_is_shown_while_its_turn_runs_as_far_as_one_can_tell(
    house: House, message: Any, *, quick: bool
) -> None:
    async with following(house, message) as follower:
        await follower.until(state="queued")
        show(house, message, "h")
        if quick:
            await house.take(message["session"], *Scribe().answer("h", 1))
        else:
            await house.take(message["session"], Scribe().claim(1))
        found = [await follower.next(), await follower.next()]
    assert names(found)[0] == ("text h" if quick else "state running")
    assert found[1]["event"] == ("state" if quick else "text")


async def test_live_text_of_another_turn_is_not_shown(house: House, message: Any) -> None:
    async with following(house, message) as follower:
        await follower.until(state="queued")
        show(house, message, "early, of another", turn=7)
        await house.take(message["session"], Scribe().claim(1))
        await follower.until(state="running")
        show(house, message, "of another", turn=2)
        show(house, message, "mine", turn=1)
        assert names(await follower.until(event="text")) == ["text mine"]


async def test_live_text_of_the_next_turn_over_the_same_message_is_shown(
    house: House, message: Any
) -> None:
    first = Scribe()
    async with following(house, message) as follower:
        await house.take(message["session"], first.claim(1))
        await follower.until(state="running")
        await house.take(message["session"], first.release(1))
        await follower.until(state="queued")
        second = Scribe(seq=2, turn=2)
        show(house, message, "early", turn=2)
        await house.take(message["session"], second.claim(1))
        show(house, message, "late", turn=2)
        found = await follower.until(text="late")
    assert [name for name in names(found) if name.startswith("text")] == ["text early", "text late"]


async def test_a_frame_that_only_asks_for_patience_is_not_shown(house: House, message: Any) -> None:
    async with following(house, message) as follower:
        await house.take(message["session"], Scribe().claim(1))
        await follower.until(state="running")
        show(house, message, "")
        show(house, message, "hi")
        assert names(await follower.until(event="text")) == ["text hi"]


async def test_what_a_turn_sends_before_its_end_is_told_in_order(
    house: House, message: Any
) -> None:
    scribe = Scribe()
    async with following(house, message) as follower:
        await house.take(
            message["session"], scribe.claim(1), scribe.send("one"), scribe.send("two")
        )
        await follower.until(state="running")
        found = [await follower.next(), await follower.next()]
        await house.take(message["session"], scribe.reply("three", 1), scribe.ack(1))
        found += await follower.rest()
    deliveries = [event["delivery"] for event in found if event["event"] == "delivery"]
    assert [(delivery["kind"], delivery["text"]) for delivery in deliveries] == [
        ("send", "one"),
        ("send", "two"),
        ("reply", "three"),
    ]


async def test_replies_to_others_are_not_told(house: House, message: Any) -> None:
    await house.say("and?")
    await house.hand_over(message["session"])
    scribe = Scribe()
    async with following(house, message) as follower:
        await house.take(message["session"], *scribe.answer("to the other", 2))
        await house.take(message["session"], *scribe.answer("hi", 1))
        rest = names(await follower.rest())
    assert [name for name in rest if name.startswith("delivery")] == ["delivery hi"]


async def test_a_failure_is_told_with_its_reason(house: House, message: Any) -> None:
    scribe = Scribe()
    async with following(house, message) as follower:
        await house.take(message["session"], scribe.claim(1), scribe.ack(1, "failed", "No model."))
        end = (await follower.rest())[-1]
    assert end == {"event": "end", "state": "failed", "reason": "No model.", "reply": ""}


async def test_an_answer_without_a_word_ends_too(house: House, message: Any) -> None:
    scribe = Scribe()
    async with following(house, message) as follower:
        await house.take(message["session"], scribe.claim(1), scribe.ack(1))
        end = (await follower.rest())[-1]
    assert (end["event"], end["state"], end["reply"]) == ("end", "answered", "")


async def test_a_cancelled_message_ends(house: House) -> None:
    message = await house.say(due_at="2031-01-01T00:00:00Z")
    async with following(house, message) as follower:
        await follower.until(state="received")
        await house.ask("POST", f"/messages/{message['id']}/cancel", status=202)
        assert (await follower.rest())[-1]["state"] == "cancelled"


async def test_why_a_message_waits_is_told_and_taken_back(house: House, message: Any) -> None:
    session = SessionId(message["session"])
    async with following(house, message) as follower:
        first = await follower.next()
        assert first["trouble"] == "Everything is stopped. `salver resume` goes on."
        # What the session itself is in trouble with is told once nothing is stopped.
        await house.write(lambda conn: store.say_trouble(conn, session, "The disk is full."))
        await house.ask("POST", "/resume")
        house.changed(session)
        assert (await follower.until(trouble="The disk is full."))[-1]["state"] == "queued"


async def test_a_state_is_told_once_although_much_happens(house: House, message: Any) -> None:
    async with following(house, message) as follower:
        await follower.until(state="queued")
        for _ in range(10):
            house.changed(message["session"])
        await house.take(message["session"], Scribe().claim(1))
        assert names(await follower.until(state="running")) == ["state running"]


async def test_many_may_follow_one_message(house: House, message: Any) -> None:
    async with following(house, message) as one, following(house, message) as other:
        await one.until(state="queued")
        await other.until(state="queued")
        await house.answer(message)
        assert (await one.rest())[-1] == (await other.rest())[-1]


async def test_whoever_is_too_slow_is_cut_off_and_may_look_anew(house: House, message: Any) -> None:
    rooms = house.running.rooms
    view = await rooms.database.read(lambda conn: views.message(conn, MessageId(message["id"])))
    assert view is not None
    events = follow(rooms, view)
    await anext(events)
    for number in range(LONGEST_QUEUE + 2):
        show(house, message, f"{number}")
    with pytest.raises(Lagging):
        await anext(events)


async def test_followers_are_let_go_when_the_house_closes(house: House, message: Any) -> None:
    async with following(house, message) as follower:
        await follower.until(state="queued")
        house.running.rooms.hub.close()
        assert await follower.rest() == []
