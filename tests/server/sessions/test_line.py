import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from salver_server.ids import SessionId
from salver_server.messages import Progress
from salver_server.runtimes import Identity
from salver_server.sessions.line import (
    FRAMES_A_SECOND,
    LONGEST_FRAME,
    LONGEST_TEXT,
    MOST_CONNECTIONS,
    PROTOCOL,
    Heard,
    Line,
)
from tests.fakes.channel import PATIENCE

SESSION = SessionId("ses-1")
HELLO = {"frame": "hello", "generation": 3, "protocol": PROTOCOL}
LIVE = {"frame": "live", "turn": 1, "kind": "text", "text": "hel"}


@dataclass(slots=True)
class Ear:
    """What the server has heard."""

    heard: list[object] = field(default_factory=list[object])
    _happened: asyncio.Event = field(default_factory=asyncio.Event)

    def heard_from(self) -> Heard:
        return Heard(
            rang=lambda session: self._note(("ring", session)),
            progressed=lambda progress, seconds: self._note((progress, seconds)),
            answered=lambda session: self._note(("answer", session)),
        )

    def _note(self, what: object) -> None:
        self.heard.append(what)
        self._happened.set()

    async def hears(self, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.heard) < times:
                self._happened.clear()
                await self._happened.wait()


@dataclass(slots=True)
class Runner:
    """The other end of the line."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, *frames: object) -> None:
        await self.send(*(json.dumps(frame).encode() for frame in frames))

    async def send(self, *lines: bytes) -> None:
        self.writer.writelines(line + b"\n" for line in lines)
        await self.writer.drain()

    async def told(self) -> str:
        """The next frame's name; empty when the line was cut."""
        async with asyncio.timeout(PATIENCE):
            line = await self.reader.readline()
        return json.loads(line)["frame"] if line else ""

    async def is_cut(self) -> bool:
        try:
            return await self.told() == ""
        except ConnectionResetError:
            return True


@dataclass(slots=True)
class Ends:
    """Both ends of one line."""

    line: Line
    path: Path
    ear: Ear

    @asynccontextmanager
    async def runner(self) -> AsyncGenerator[Runner]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            yield Runner(reader, writer)
        finally:
            writer.close()


@pytest.fixture
async def ends(quick_path: Path) -> AsyncGenerator[Ends]:
    ear = Ear()
    line = Line(SESSION, 3, ear.heard_from())
    path = quick_path / "line"
    await line.open(path, Identity(uid=os.geteuid(), gid=os.getegid()))
    yield Ends(line, path, ear)
    line.close()


async def test_a_doorbell_is_heard(ends: Ends) -> None:
    async with ends.runner() as runner:
        await runner.say({"frame": "ring"})
        await ends.ear.hears()
    assert ends.ear.heard == [("ring", SESSION)]


async def test_what_a_turn_shows_is_heard_with_the_patience_it_asks_for(ends: Ends) -> None:
    async with ends.runner() as runner:
        await runner.say(LIVE, {**LIVE, "kind": "tool", "text": "shell", "seconds": 30})
        await ends.ear.hears(2)
    assert ends.ear.heard == [
        (Progress(session=SESSION, turn=1, kind="text", text="hel"), 0.0),
        (Progress(session=SESSION, turn=1, kind="tool", text="shell"), 30.0),
    ]


async def test_a_runner_that_greets_is_rung_and_retired(ends: Ends) -> None:
    ends.line.ring()  # nobody is there yet; harmless
    assert not ends.line.connected
    async with ends.runner() as runner:
        await runner.say(HELLO)
        await ends.ear.hears()
        assert ends.line.connected
        ends.line.ring()
        ends.line.ping()
        ends.line.cancel()
        ends.line.retire()
        assert [await runner.told() for _ in range(4)] == ["ring", "ping", "cancel", "retire"]


async def test_a_pong_is_an_answer(ends: Ends) -> None:
    async with ends.runner() as runner:
        await runner.say(HELLO, {"frame": "pong"})
        await ends.ear.hears(2)
    assert ends.ear.heard == [("answer", SESSION)] * 2


@pytest.mark.parametrize(
    "hello",
    [{**HELLO, "generation": 2}, {**HELLO, "protocol": PROTOCOL + 1}, {"frame": "hello"}],
    ids=["earlier-generation", "other-protocol", "says-nothing"],
)
async def test_a_greeting_that_is_not_for_us_gives_no_orders(
    ends: Ends, hello: dict[str, object]
) -> None:
    async with ends.runner() as runner:
        await runner.say(hello, {"frame": "ring"})
        await ends.ear.hears()
        assert (ends.ear.heard, ends.line.connected) == ([("ring", SESSION)], False)


async def test_the_latest_greeting_counts(ends: Ends) -> None:
    async with ends.runner() as early, ends.runner() as late:
        await early.say(HELLO)
        await ends.ear.hears(1)
        await late.say(HELLO)
        await ends.ear.hears(2)
        ends.line.ring()
        assert await late.told() == "ring"


async def test_a_runner_that_hangs_up_may_come_back(ends: Ends) -> None:
    for times in (1, 2, 3):
        async with ends.runner() as runner:
            await runner.say(HELLO)
            await ends.ear.hears(times)
            ends.line.ring()
            assert await runner.told() == "ring"


async def test_a_frame_that_nobody_knows_is_passed_over(ends: Ends) -> None:
    async with ends.runner() as runner:
        await runner.say({"frame": "song"}, {}, {"frame": ["ring"]}, {"frame": "ring"})
        await ends.ear.hears()
    assert ends.ear.heard == [("ring", SESSION)]


HOSTILE = {
    "no-json": b"ring",
    "no-utf8": b'{"frame": "\xff"}',
    "a-list": b'["frame"]',
    "a-number": b"7",
    "nothing": b"null",
    "too-deep": b"[" * 100_000,
    "endless-number": b'{"frame": ' + b"9" * 100_000 + b"}",
    "live-without-text": b'{"frame": "live", "turn": 1, "kind": "text"}',
    "live-without-turn": b'{"frame": "live", "kind": "text", "text": "a"}',
    "live-of-no-kind": b'{"frame": "live", "turn": 1, "kind": "state", "text": "a"}',
    "live-of-many-kinds": b'{"frame": "live", "turn": 1, "kind": [], "text": "a"}',
    "live-with-half-a-character": b'{"frame": "live", "turn": 1, "kind": "text", "text": "\\ud800"}',
    "live-for-very-long": b'{"frame": "live", "turn": 1, "kind": "text", "text": "", "seconds": 1'
    + b"0" * 400
    + b"}",
    "live-for-a-word": b'{"frame": "live", "turn": 1, "kind": "text", "text": "", "seconds": "1"}',
    "too-long": b'{"frame": "ring", "more": "' + b"x" * LONGEST_FRAME + b'"}',
}


@pytest.mark.parametrize("line", list(HOSTILE.values()), ids=list(HOSTILE))
async def test_a_frame_that_is_not_right_cuts_its_connection_and_nothing_else(
    ends: Ends, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with ends.runner() as honest, ends.runner() as hostile:
            await honest.say(HELLO)
            await ends.ear.hears()
            await hostile.send(line)
            assert await hostile.is_cut()
            ends.line.ring()
            assert await honest.told() == "ring"
    assert ends.ear.heard == [("answer", SESSION)]
    assert caplog.records == []


async def test_a_crowd_is_not_let_in(ends: Ends) -> None:
    async with ends.runner() as one, ends.runner() as two, ends.runner() as three:
        async with ends.runner() as four, ends.runner() as five:
            assert MOST_CONNECTIONS == 4
            await four.say({"frame": "ring"})
            await ends.ear.hears()
            assert await five.is_cut()
        for runner in (one, two, three):
            await runner.say({"frame": "ring"})
        await ends.ear.hears(4)


async def test_a_flood_is_read_at_its_pace(ends: Ends) -> None:
    async with ends.runner() as runner:
        await runner.send(*[b'{"frame": "ring"}'] * FRAMES_A_SECOND * 3)
        await ends.ear.hears(FRAMES_A_SECOND)
        assert len(ends.ear.heard) < FRAMES_A_SECOND * 2


async def test_live_text_is_cut_where_it_is_too_long(ends: Ends) -> None:
    async with ends.runner() as runner:
        await runner.say({**LIVE, "text": "x" * (LONGEST_TEXT + 1)})
        await ends.ear.hears()
    assert ends.ear.heard == [
        (Progress(session=SESSION, turn=1, kind="text", text="x" * LONGEST_TEXT), 0.0)
    ]


async def test_a_runner_that_reads_nothing_costs_no_memory(ends: Ends) -> None:
    async with ends.runner() as runner:
        await runner.say(HELLO)
        await ends.ear.hears()
        for _ in range(100_000):
            ends.line.ring()
        ends.line.close()
        unread = 0
        while await runner.told():
            unread += 1
    assert unread < 50_000


async def test_only_the_sandbox_s_user_may_come_in(ends: Ends) -> None:
    found = ends.path.stat()
    assert (found.st_mode & 0o777, found.st_uid) == (0o600, os.geteuid())


async def test_a_socket_that_an_earlier_server_left_is_made_anew(quick_path: Path) -> None:
    path, ear = quick_path / "line", Ear()
    path.touch()
    for _ in range(2):
        line = Line(SESSION, 3, ear.heard_from())
        await line.open(path, Identity(uid=os.geteuid(), gid=os.getegid()))
        line.close()


async def test_closing_cuts_whoever_is_connected(ends: Ends) -> None:
    async with ends.runner() as runner:
        await runner.say(HELLO)
        await ends.ear.hears()
        ends.line.close()
        assert await runner.is_cut()
