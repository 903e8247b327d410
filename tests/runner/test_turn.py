import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from salver_runner.clock import elapsed
from salver_runner.inbox import Message
from salver_runner.launch import Limits
from salver_runner.tools import Handed, Result, ToolSpec
from salver_runner.turn import OUT_OF_TIME, Turn, summary
from tests.runner.bus import NO_WEB, SENT_AT, Bus, cut_line
from tests.runner.timeless import timeless


class Table:
    """One turn, and the messages that wait for it."""

    def __init__(self, bus: Bus, attempts: dict[int, int] | None = None) -> None:
        self.waiting: list[Message] = []
        self.turn = Turn(
            launch=bus.launch(attempts=attempts),
            number=1,
            attempt=1,
            outbox=bus.outbox(),
            line=cut_line(bus),
            gateway=bus.root / "line" / "gateway",
            files=bus.root / "in" / "files",
            web=NO_WEB,
            tools={"echo": ECHO},
            pending=self.pending,
        )

    def pending(self) -> list[Message]:
        return [message for message in self.waiting if message not in self.turn.claimed]

    def put(self, *seqs: int, wakes: bool = True) -> None:
        self.waiting += [
            Message(
                seq=seq,
                id=f"m-{seq}",
                kind="message" if wakes else "note",
                target=None,
                sender="Ada",
                sent_at=SENT_AT,
                text="hello",
                wakes=wakes,
            )
            for seq in seqs
        ]

    def take(self) -> list[int]:
        return [message.seq for message in self.turn.take()]


async def echo(arguments: Mapping[str, object], handed: Handed) -> Result:
    handed.output("live ")
    return Result(text=str(arguments["text"]), failed=bool(arguments.get("fail")))


ECHO = ToolSpec(name="echo", description="", parameters={}, longest=7, run=echo)


@timeless
async def test_what_waits_is_taken_once_and_in_order(bus: Bus) -> None:
    table = Table(bus)
    table.put(1, 2)
    assert table.take() == [1, 2]
    assert table.take() == []
    table.put(3)
    assert table.take() == [3]
    assert bus.claims() == [(1, 1), (1, 2), (1, 3)]


@timeless
async def test_a_claim_is_on_disk_before_the_model_sees_anything(bus: Bus) -> None:
    table = Table(bus)
    table.put(1)
    assert [message.seq for message in table.turn.claim()] == [1]
    assert bus.claims() == [(1, 1)]
    assert table.turn.seen == []
    assert table.take() == [1]
    assert bus.claims() == [(1, 1)]


@timeless
async def test_a_message_that_crashed_a_turn_is_taken_alone(bus: Bus) -> None:
    table = Table(bus, attempts={2: 1})
    table.put(2, 3)
    assert table.take() == [2]
    assert table.take() == []
    table.put(4)
    assert table.take() == []


@timeless
async def test_a_message_that_crashed_a_turn_does_not_join_another(bus: Bus) -> None:
    table = Table(bus, attempts={2: 1})
    table.put(1)
    assert table.take() == [1]
    table.put(2)
    assert table.take() == []


@timeless
async def test_what_was_said_nearby_goes_with_a_message_that_is_taken_alone(bus: Bus) -> None:
    table = Table(bus, attempts={3: 1})
    table.put(1, 2, wakes=False)
    table.put(3, 4)
    assert table.take() == [1, 2, 3]


@timeless
async def test_the_last_round_is_known_by_rounds_and_by_time(bus: Bus) -> None:
    turn = Table(bus).turn
    turn.launch = replace(turn.launch, limits=Limits(rounds=2, seconds=60))
    assert not turn.last_round
    turn.rounds = 2
    assert turn.last_round
    turn.rounds = 0
    turn.began -= 60
    assert turn.last_round


@timeless
async def test_what_was_taken_back_was_never_said(bus: Bus) -> None:
    turn = Table(bus).turn
    turn.say("one ")
    turn.say("two ")
    turn.unsay(1)
    turn.say("three")
    assert turn.said == ["one ", "three"]


@timeless
async def test_a_tool_is_on_record_before_it_acts(bus: Bus) -> None:
    turn = Table(bus).turn
    result = await turn.use("echo", {"text": "hello"})
    assert result == Result(text="hello")
    assert bus.rows("tool")[0].body == {"name": "echo", "arguments": {"text": "hello"}}


@timeless
async def test_a_tool_that_does_not_exist_is_said_to_the_model(bus: Bus) -> None:
    result = await Table(bus).turn.use("ecco", {})
    assert result.failed
    assert result.text == "There is no tool 'ecco'; there are: echo."
    assert bus.rows() == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"command": "ls -l"}, "ls -l"),
        ({"path": "a", "lines": 3}, "path='a', lines=3"),
        ({"path": "a", "text": "x" * 999}, f"path='a', text='{'x' * 199}…"),
        ({}, ""),
    ],
)
def test_arguments_are_shown_in_one_line(arguments: dict[str, object], line: str) -> None:
    assert summary(arguments) == line


async def test_what_salver_says_itself_is_a_paragraph_of_its_own(bus: Bus) -> None:
    turn = Table(bus).turn
    turn.aside("first")
    turn.say(turn.gap() + "one\n")
    turn.aside("then")
    assert "".join(turn.said) == "*first*\n\none\n\n*then*"


@timeless
async def test_a_tool_is_ended_at_the_limit_of_its_turn(bus: Bus) -> None:
    ended: list[str] = []

    async def wait(_: Mapping[str, object], __: Handed) -> Result:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("wait")
        return Result(text="done")

    turn = Table(bus).turn
    turn.launch = replace(turn.launch, limits=Limits(rounds=9, seconds=60))
    turn.tools = {"wait": replace(ECHO, name="wait", run=wait)}
    before = elapsed()
    result = await turn.use("wait", {})
    assert (result.text, result.failed) == (OUT_OF_TIME, True)
    assert ended == ["wait"]
    assert 60 <= elapsed() - before < 61
    assert turn.last_round


@timeless
async def test_a_tool_that_gives_up_by_itself_does_so_in_its_own_words(bus: Bus) -> None:
    async def late(_: Mapping[str, object], __: Handed) -> Result:
        raise TimeoutError

    turn = Table(bus).turn
    turn.tools = {"late": replace(ECHO, name="late", run=late)}
    with pytest.raises(TimeoutError):
        await turn.use("late", {})
