"""Orders about the memory: obeyed between turns, in order, and never half."""

import asyncio
from collections.abc import Callable
from typing import Literal

from salver_runner.inbox import Message
from salver_runner.orders import answers, until_memory
from salver_runner.turn import Failed, JsonObject, Turn
from tests.runner.bus import SENT_AT, Bus, LineEnd, running
from tests.runner.timeless import timeless

Kind = Literal["message", "note", "cancel", "stop", "clear", "compact"]


def row(seq: int, kind: Kind = "message") -> Message:
    return Message(
        seq=seq,
        id=f"m-{seq}",
        kind=kind,
        target=None,
        sender="Ada",
        sent_at=SENT_AT,
        text="",
        wakes=True,
    )


def test_what_comes_before_an_order_about_the_memory_is_told_apart() -> None:
    rows = [row(1), row(2, "clear"), row(3), row(4, "compact")]
    assert until_memory(rows) == ([rows[0]], rows[1])
    assert until_memory(rows[2:3]) == ([rows[2]], None)


def test_a_stop_ends_a_compaction_that_waits_and_leaves_a_clear() -> None:
    rows = [row(1, "compact"), row(2, "clear"), row(3), row(4, "stop")]
    acks = answers([rows[3]], rows, claimed=set())
    assert [(ack.seq, ack.outcome) for ack in acks] == [(1, "stopped"), (3, "stopped"), (4, "done")]


# Clear


@timeless
async def test_what_was_cleared_is_forgotten_by_this_runner_and_the_next(bus: Bus) -> None:
    bus.remember("demo", {"role": "memory", "text": "from an earlier file"})
    bus.write("!remember milk")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.replies)
        clear = bus.clear()
        bus.write("!recall")
        line.ring()
        await line.until(lambda: len(bus.replies()) == 2)
    bus.write("!remember bread\n!recall")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(generation=2)):
        await line.until(lambda: len(bus.replies()) == 3)
    assert bus.replies()[1] == "I remember nothing yet."
    assert bus.replies()[2].splitlines()[1:] == ["bread"]
    assert bus.outcomes()[clear] == "done"
    assert "*Cleared: " in (bus.home / "transcript.md").read_text()


@timeless
async def test_what_was_said_before_a_clear_still_meets_the_old_memory(bus: Bus) -> None:
    bus.write("!remember milk")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.replies)
        bus.write("!recall")
        bus.clear()
        bus.write("!recall")
        line.ring()
        await line.until(lambda: len(bus.replies()) == 3)
    assert bus.replies()[1:] == ["milk", "I remember nothing yet."]
    assert bus.claims() == [(1, 1), (2, 2), (3, 4)]


@timeless
async def test_what_was_said_after_a_clear_is_not_taken_into_a_running_turn(bus: Bus) -> None:
    bus.write("!slow 5\n!say first")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(line.text)
        bus.write("!say second")
        bus.clear()
        bus.write("!say third")
        line.ring()
        await line.until(lambda: len(bus.replies()) == 2)
    assert [reply.splitlines()[-2:] for reply in bus.replies()] == [["first", "second"], ["third"]]
    assert bus.claims() == [(1, 1), (1, 2), (2, 4)]


@timeless
async def test_a_clear_opens_no_turn_and_takes_what_was_noted_with_it(bus: Bus) -> None:
    note, clear = bus.note("the cat came in"), bus.clear()
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.outcomes)
    assert bus.outcomes() == {note: "done", clear: "done"}
    assert bus.claims() == []


@timeless
async def test_a_clear_that_was_obeyed_is_not_obeyed_again(bus: Bus) -> None:
    bus.clear()
    for generation in (1, 2):
        async with LineEnd(bus.line) as line, running(bus, bus.launch(generation=generation)):
            bus.write("!remember milk" if generation == 1 else "!recall")
            await line.until(lambda generation=generation: len(bus.replies()) == generation)
    assert bus.replies()[1] == "milk"
    assert len([one for one in bus.rows("continuation") if one.body.get("reset")]) == 1


# Compact


async def talk(bus: Bus, line: LineEnd) -> None:
    """A conversation that is worth compacting."""
    for number in range(1, 4):
        bus.write(f"!remember {number}\n!say {'blah ' * 20}")
        if line.greetings:
            line.ring()
        await line.until(lambda number=number: len(bus.replies()) == number)


def said(bus: Bus) -> list[str]:
    return [str(one.body["text"]) for one in bus.rows("send")]


@timeless
async def test_a_conversation_is_compacted_and_goes_on_from_what_is_left(bus: Bus) -> None:
    async with LineEnd(bus.line) as line, running(bus):
        await talk(bus, line)
        order = bus.compact()
        bus.write("!recall")
        line.ring()
        await line.until(lambda: len(bus.replies()) == 4)
    assert bus.replies()[3].splitlines() == ["1", "2", "3"]
    assert bus.outcomes()[order] == "done"
    assert said(bus)[0].startswith("The conversation is compacted: of ")
    [anew] = [one for one in bus.rows("continuation") if one.body.get("reset")]
    assert anew.body["messages"][-1]["text"] == "(3 messages were compacted.)"
    bus.write("!recall")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(generation=2)):
        await line.until(lambda: len(bus.replies()) == 5)
    assert bus.replies()[4].splitlines() == ["1", "2", "3"]


@timeless
async def test_a_short_conversation_stays_as_it_is(bus: Bus) -> None:
    order = bus.compact()
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.outcomes)
    assert bus.outcomes() == {order: "done"}
    assert said(bus) == ["The conversation is short already; nothing was changed."]
    assert bus.rows("continuation") == []


@timeless
async def test_a_provider_that_cannot_compact_says_so_and_nothing_changes(
    bus: Bus, scripted: Callable[..., str]
) -> None:
    order = bus.compact()
    launch = bus.launch(provider=scripted(keeping_nothing))
    async with LineEnd(bus.line) as line, running(bus, launch):
        await line.until(bus.outcomes)
    assert bus.outcomes() == {order: "failed"}
    assert "The provider 'scripted' cannot compact a conversation." in said(bus)[0]


@timeless
async def test_a_compaction_that_fails_changes_nothing(
    bus: Bus, scripted: Callable[..., str]
) -> None:
    async def compact(_turn: Turn) -> list[JsonObject]:
        raise Failed("The model is gone.")

    bus.remember("scripted", {"text": "old"})
    order = bus.compact()
    launch = bus.launch(provider=scripted(keeping_nothing, compact))
    async with LineEnd(bus.line) as line, running(bus, launch):
        await line.until(bus.outcomes)
    assert bus.outcomes() == {order: "failed"}
    assert said(bus) == ["The conversation was not compacted. The model is gone."]
    assert bus.rows("continuation") == []


@timeless
async def test_a_stop_ends_a_compaction(bus: Bus, scripted: Callable[..., str]) -> None:
    async def compact(_turn: Turn) -> list[JsonObject]:
        return await asyncio.Future()

    order = bus.compact()
    launch = bus.launch(provider=scripted(keeping_nothing, compact))
    async with LineEnd(bus.line) as line, running(bus, launch):
        await line.until(bus.claims)
        stop = bus.stop()
        line.ring()
        await line.until(lambda: len(bus.outcomes()) == 2)
    assert bus.outcomes() == {order: "stopped", stop: "done"}
    assert said(bus) == ["The conversation was not compacted. Stopped."]


@timeless
async def test_a_compaction_that_was_cut_off_is_made_again(bus: Bus) -> None:
    async with LineEnd(bus.line) as line, running(bus):
        await talk(bus, line)
    order = bus.compact()
    bus.outbox(generation=2).claim(4, 1, [order])
    launch = bus.launch(generation=3, attempts={order: 1})
    async with LineEnd(bus.line) as line, running(bus, launch):
        await line.until(lambda: order in bus.outcomes())
    assert bus.outcomes()[order] == "done"
    [claim] = [one for one in bus.rows("claim") if one.turn == 5]
    assert (claim.message, claim.attempt) == (order, 2)


@timeless
async def test_a_runner_that_is_to_leave_leaves_a_compaction_to_the_next_one(bus: Bus) -> None:
    async with LineEnd(bus.line) as line, running(bus) as runner:
        await talk(bus, line)
        line.say("retire")
        order = bus.compact()
        line.ring()
        await runner
    assert order not in bus.outcomes()


async def keeping_nothing(turn: Turn) -> None:
    turn.take()
