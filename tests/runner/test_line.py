"""The line from the runner's side, with a server's end that the test holds."""

import asyncio
from asyncio import TaskGroup
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from salver_runner.launch import PROTOCOL
from salver_runner.line import LONGEST_FRAME, MOST_UNSENT, Line
from tests.runner.bus import Bus, LineEnd
from tests.runner.timeless import leaps, timeless


class Told:
    """What a line has told its runner."""

    rung = 0
    given_up = 0

    def ring(self) -> None:
        self.rung += 1

    def give_up(self) -> None:
        self.given_up += 1


@asynccontextmanager
async def kept(bus: Bus, told: Told | None = None) -> AsyncGenerator[Line]:
    told = told or Told()
    line = Line(bus.line, generation=3, rung=told.ring, given_up=told.give_up)
    async with TaskGroup() as tasks:
        keeping = tasks.create_task(line.keep(), name="line.keep")
        yield line
        keeping.cancel()


@timeless
async def test_a_line_greets_rings_and_has_its_runner_look(bus: Bus) -> None:
    told = Told()
    async with LineEnd(bus.line) as end, kept(bus, told):
        await end.until(lambda: len(end.frames) == 2)
        assert end.frames == [
            {"frame": "hello", "generation": 3, "protocol": PROTOCOL},
            {"frame": "ring"},
        ]
        assert told.rung == 1


@timeless
async def test_what_the_server_says_reaches_the_runner(bus: Bus) -> None:
    told = Told()
    async with LineEnd(bus.line) as end, kept(bus, told) as line:
        await end.until(lambda: end.greetings)
        end.ring()
        end.say("of a later version")
        end.say("cancel")
        end.say("ping")
        await end.until(lambda: {"frame": "pong"} in end.frames)
        assert (told.rung, told.given_up, line.retiring) == (2, 1, False)
        end.say("retire")
        end.say("ping")
        await end.until(lambda: end.frames.count({"frame": "pong"}) == 2)
        assert (told.rung, told.given_up, line.retiring) == (3, 1, True)


# Live events


@timeless
async def test_text_is_gathered_into_at_most_25_frames_a_second(bus: Bus) -> None:
    async with LineEnd(bus.line) as end, kept(bus) as line:
        await end.until(lambda: end.greetings)
        words = [f"{number} " for number in range(1000)]
        for word in words:
            line.text(1, word)
            await asyncio.sleep(0.001)
        await end.until(lambda: end.text() == "".join(words))
        assert 20 <= len(end.heard("text")) <= 26


@timeless
async def test_the_first_word_is_sent_at_once(bus: Bus) -> None:
    async with LineEnd(bus.line) as end, kept(bus) as line:
        await end.until(lambda: end.greetings)
        await asyncio.sleep(1)
        before = asyncio.get_running_loop().time()
        line.text(1, "hello")
        await end.until(end.text)
        assert asyncio.get_running_loop().time() - before < 0.001


@timeless
async def test_text_and_tools_keep_their_order(bus: Bus) -> None:
    async with LineEnd(bus.line) as end, kept(bus) as line:
        await end.until(lambda: end.greetings)
        line.text(1, "let me ")
        line.text(1, "look")
        line.tool(1, "tool", "shell ls", seconds=600)
        line.tool(1, "output", "milk\n")
        line.tool(1, "output", "bread\n")
        line.tool(1, "tool-end", "done")
        line.text(1, "there it is")
        line.text(2, "another turn")
        await end.until(lambda: len(end.heard()) == 6)
    assert [(frame["turn"], frame["kind"], frame["text"]) for frame in end.heard()] == [
        (1, "text", "let me look"),
        (1, "tool", "shell ls"),
        (1, "output", "milk\nbread\n"),
        (1, "tool-end", "done"),
        (1, "text", "there it is"),
        (2, "text", "another turn"),
    ]
    assert [frame["seconds"] for frame in end.heard("tool")] == [600]


@timeless
async def test_text_that_is_taken_back_is_said_again_in_its_place(bus: Bus) -> None:
    async with LineEnd(bus.line) as end, kept(bus) as line:
        await end.until(lambda: end.greetings)
        line.text(1, "I think th")
        line.again(1, "I think ")
        line.text(1, "so")
        await end.until(lambda: len(end.heard()) == 3)
    assert [(frame["kind"], frame["text"]) for frame in end.heard()] == [
        ("text", "I think th"),
        ("again", "I think "),
        ("text", "so"),
    ]


@timeless
async def test_a_model_that_thinks_asks_to_be_left_alone(bus: Bus) -> None:
    async with LineEnd(bus.line) as end, kept(bus) as line:
        await end.until(lambda: end.greetings)
        line.quiet(1, 300)
        await end.until(end.heard)
    assert [(frame["text"], frame["seconds"]) for frame in end.heard()] == [("", 300)]


@timeless
async def test_a_server_that_asks_is_told_how_long_the_turn_may_still_be_silent(bus: Bus) -> None:
    """It may be another one than that which heard it first."""
    async with LineEnd(bus.line) as end, kept(bus) as line:
        await end.until(lambda: end.greetings)
        line.tool(1, "tool", "shell sleep 500", seconds=600)
        await asyncio.sleep(200)
        await end.cut()
        await end.open()
        await end.until(lambda: end.greetings == 2)
        end.frames.clear()
        end.say("ping")
        await end.until(end.heard)
        assert [frame["seconds"] for frame in end.heard("text")] == [pytest.approx(400, abs=2)]
        line.tool(1, "tool-end", "done")
        await end.until(lambda: end.heard("tool-end"))
        end.frames.clear()
        end.say("ping")
        await end.until(lambda: {"frame": "pong"} in end.frames)
        await asyncio.sleep(1)
        assert end.heard() == []


@timeless
async def test_long_text_is_sent_in_parts_that_the_server_can_take(bus: Bus) -> None:
    text = "\x00€" * LONGEST_FRAME
    async with LineEnd(bus.line) as end, kept(bus) as line:
        await end.until(lambda: end.greetings)
        line.text(1, text)
        await end.until(lambda: len(end.text()) == len(text))
    assert end.text() == text


@timeless
async def test_a_tool_that_pours_out_is_shown_in_part_and_says_so(bus: Bus) -> None:
    async with LineEnd(bus.line) as end, kept(bus) as line:
        await end.until(lambda: end.greetings)
        for _ in range(1000):
            line.tool(1, "output", "x" * 60_000)
        line.tool(1, "tool-end", "done")
        await end.until(lambda: end.heard("tool-end"))
    shown = "".join(frame["text"] for frame in end.heard("output"))
    assert len(shown) < 2 * LONGEST_FRAME
    assert shown.endswith(f"[… {1000 * 60_000 - LONGEST_FRAME} characters left out …]\n")


@timeless
async def test_a_server_that_reads_slowly_costs_live_text_and_no_memory(bus: Bus) -> None:
    async with LineEnd(bus.line) as end, kept(bus) as line:
        await end.until(lambda: end.greetings)
        end.reading.clear()
        for _ in range(1000):
            line.text(1, "x" * 50_000)
            await asyncio.sleep(0.05)
        line.tool(1, "tool-end", "done")
        end.reading.set()
        await end.until(lambda: end.heard("tool-end"))
        assert len(end.text()) < 5 * MOST_UNSENT
        line.text(1, "here again")
        await end.until(lambda: end.text().endswith("here again"))


@timeless
async def test_half_a_character_ends_nothing(bus: Bus) -> None:
    async with LineEnd(bus.line) as end, kept(bus) as line:
        await end.until(lambda: end.greetings)
        line.text(1, "so \ud83d far")
        await end.until(end.text)
    assert end.text() == "so ? far"


# Cut and back


@timeless
async def test_a_cut_costs_live_text_and_nothing_else(bus: Bus) -> None:
    told = Told()
    async with LineEnd(bus.line) as end, kept(bus, told) as line:
        await end.until(lambda: end.greetings)
        await end.cut()
        await asyncio.sleep(1)
        assert not line.connected
        assert told.rung == 2, "who waits for the bell is told that the line is cut"
        line.text(1, "nobody hears this")
        line.ring()
        await asyncio.sleep(60)
        end.frames.clear()
        await end.open()
        await end.until(lambda: len(end.frames) == 2)
        assert [frame["frame"] for frame in end.frames] == ["hello", "ring"]
        assert told.rung == 3
        line.text(1, "and this is heard")
        await end.until(end.text)
        assert end.text() == "and this is heard"


@timeless
async def test_a_server_that_comes_back_soon_is_found_soon(bus: Bus) -> None:
    async with LineEnd(bus.line) as end, kept(bus):
        await end.until(lambda: end.greetings)
        await end.cut()
        await asyncio.sleep(0.1)
        await end.open()
        before = asyncio.get_running_loop().time()
        await end.until(lambda: end.greetings == 2)
        assert asyncio.get_running_loop().time() - before <= 0.2


@timeless
async def test_a_server_that_stays_away_is_sought_once_a_second(bus: Bus) -> None:
    async with kept(bus):
        before = leaps()
        await asyncio.sleep(3600)
        assert leaps() - before <= 3600 + 10


@timeless
async def test_a_server_that_hangs_up_at_once_is_not_called_again_and_again(bus: Bus) -> None:
    calls = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(hang_up, path=bus.line)
    async with server, kept(bus):
        await asyncio.sleep(60)
    assert 0 < calls <= 60 + 5
