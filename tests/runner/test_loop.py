"""A real loop between a real inbound.db, a real outbound.db and the far end of its line."""

import asyncio
import contextlib
import importlib
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from salver_runner.context import Context
from salver_runner.outbox import Ousted
from salver_runner.turn import Turn
from salver_runner.workspace.outgoing import Sent
from tests.runner.bus import Bus, LineEnd, leave_a_hot_journal, running
from tests.runner.timeless import leaps, timeless

# Messages and turns


@timeless
async def test_one_message_is_one_turn(bus: Bus) -> None:
    [seq] = bus.write("!say hello")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.replies)
    assert [row.kind for row in bus.rows()] == ["claim", "reply", "ack", "continuation"]
    assert bus.replies() == ["hello"]
    assert bus.rows("reply")[0].body["answers"] == [seq]
    assert bus.outcomes() == {seq: "answered"}
    assert line.text() == "hello\n"


@timeless
async def test_what_a_turn_went_by_is_part_of_its_end(
    bus: Bus, scripted: Callable[..., str]
) -> None:
    async def answer(turn: Turn) -> None:
        turn.kept.append({"said": len(turn.take())})
        turn.context = Context(model="m", window=9, used=3, compacted=False, parts=[], messages=[1])

    bus.write("hello")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(provider=scripted(answer))):
        await line.until(bus.replies)
    *_, kept, context = bus.rows()
    assert (kept.kind, context.kind) == ("continuation", "context")
    assert (context.body["model"], context.body["messages"]) == ("m", [1])


@timeless
async def test_a_turn_may_begin_the_conversation_anew(
    bus: Bus, scripted: Callable[..., str]
) -> None:
    histories: list[object] = []

    async def answer(turn: Turn) -> None:
        histories.append(list(turn.history))
        number = len(histories)
        turn.anew = number == 2
        turn.kept.extend({"of": number} for _ in turn.take())

    bus.write("hello")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(provider=scripted(answer))):
        for number in (1, 2):
            await line.until(lambda number=number: len(bus.replies()) == number)
            bus.write("hello")
            line.ring()
        await line.until(lambda: len(bus.replies()) == 3)
    assert histories == [[], [{"of": 1}], [{"of": 2}]]
    assert [row.body.get("reset") for row in bus.rows("continuation")] == [None, True, None]


@timeless
async def test_messages_that_wait_together_are_answered_by_one_turn_in_order(bus: Bus) -> None:
    bus.write("!say one", "!say two", "!say three")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.replies)
    assert bus.replies() == ["one\ntwo\nthree"]
    assert bus.claims() == [(1, 1), (1, 2), (1, 3)]
    assert bus.outcomes() == dict.fromkeys((1, 2, 3), "answered")


@timeless
async def test_a_follow_up_is_taken_up_by_the_turn_that_still_works(bus: Bus) -> None:
    bus.write("!slow 5\n!say first")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(line.text)
        bus.write("!say second")
        line.ring()
        await line.until(bus.replies)
    assert bus.claims() == [(1, 1), (1, 2)]
    assert bus.replies()[0].splitlines()[1:] == ["first", "second"]
    assert bus.rows("reply")[0].body["answers"] == [1, 2]


@timeless
async def test_what_comes_in_after_the_last_request_opens_the_next_turn(
    bus: Bus, scripted: Callable[..., str]
) -> None:
    answering = asyncio.Event()

    async def answer_once(turn: Turn) -> None:
        taken = turn.take()
        await answering.wait()
        turn.say(" and ".join(message.text for message in taken))

    bus.write("first")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(provider=scripted(answer_once))):
        await line.until(bus.claims)
        bus.write("second", "third")
        answering.set()
        await line.until(lambda: len(bus.replies()) == 2)
    assert bus.replies() == ["first", "second and third"]
    assert bus.claims() == [(1, 1), (2, 2), (2, 3)]
    assert bus.outcomes() == dict.fromkeys((1, 2, 3), "answered")


@timeless
async def test_a_message_after_a_turn_opens_another(bus: Bus) -> None:
    async with LineEnd(bus.line) as line, running(bus):
        for text in ("one", "two", "three"):
            bus.write(f"!say {text}")
            await line.until(lambda text=text: text in bus.replies())
    assert bus.claims() == [(1, 1), (2, 2), (3, 3)]


@timeless
async def test_what_was_claimed_and_not_seen_waits_for_the_next_turn(
    bus: Bus, scripted: Callable[..., str]
) -> None:
    async def look_away_first(turn: Turn) -> None:
        if turn.number > 1:
            turn.say(turn.take()[0].text)

    bus.write("hello")
    name = scripted(look_away_first)
    async with LineEnd(bus.line) as line, running(bus, bus.launch(provider=name)):
        await line.until(bus.outcomes)
    assert [(row.turn, row.message) for row in bus.rows("release")] == [(1, 1)]
    assert bus.claims() == [(1, 1), (2, 1)]
    assert bus.replies() == ["", "hello"]


@timeless
async def test_a_note_opens_no_turn_and_goes_with_the_next_message(bus: Bus) -> None:
    bus.note("the cat came in")
    async with LineEnd(bus.line) as line, running(bus):
        await asyncio.sleep(60)
        assert bus.rows() == []
        bus.write("!say I know")
        line.ring()
        await line.until(bus.replies)
    assert bus.claims() == [(1, 1), (1, 2)]
    assert bus.outcomes() == {1: "answered", 2: "answered"}
    assert bus.rows("reply")[0].body["answers"] == [2]


@timeless
async def test_what_the_server_has_settled_is_not_answered_again(bus: Bus) -> None:
    bus.write("!say old", "!say older", "!say new")
    bus.settle(1, 2)
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.replies)
    assert bus.claims() == [(1, 3)]


@timeless
async def test_what_an_earlier_runner_answered_is_not_answered_again(bus: Bus) -> None:
    bus.write("!say one")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.replies)
    bus.write("!say two")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(generation=2)):
        await line.until(lambda: len(bus.replies()) == 2)
    assert bus.claims() == [(1, 1), (2, 2)]


# Memory


@timeless
async def test_the_conversation_is_remembered_over_turns_and_runners(bus: Bus) -> None:
    bus.remember("demo", {"role": "memory", "text": "from an earlier file"})
    bus.remember("other", {"role": "memory", "text": "of another provider"})
    bus.write("!remember milk")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.replies)
    bus.write("!remember bread")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(generation=2)):
        await line.until(lambda: len(bus.replies()) == 2)
        bus.write("!recall")
        await line.until(lambda: len(bus.replies()) == 3)
    assert bus.replies()[2].splitlines() == ["from an earlier file", "milk", "bread"]


@timeless
async def test_a_retried_turn_is_told_what_was_done_before_the_crash(bus: Bus) -> None:
    bus.write("!say done")
    first = bus.outbox()
    first.claim(1, 1, [1])
    first.send(1, 1, "working on it")
    first.send(1, 1, "", [Sent(place="0" * 32, name="a.txt", size=5)])
    first.send(1, 1, "this", [Sent(place="1" * 32, name="b.txt", size=5)])
    first.tool(1, 1, "shell", {"command": "rm list"})
    async with (
        LineEnd(bus.line) as line,
        running(bus, bus.launch(generation=2, attempts={1: 1})),
    ):
        await line.until(bus.replies)
    [reply] = bus.replies()
    assert "sent the message 'working on it'" in reply
    assert "sent the file 'a.txt'; sent the file 'b.txt' with the message 'this'" in reply
    assert 'called shell with {"command": "rm list"}' in reply
    assert bus.rows("reply")[0].attempt == 2


@timeless
async def test_after_a_crash_messages_are_offered_one_at_a_time(bus: Bus) -> None:
    bus.note("nearby")
    bus.write("!say one", "!say two", "!say three")
    async with (
        LineEnd(bus.line) as line,
        running(bus, bus.launch(attempts={1: 1, 2: 1, 3: 1})),
    ):
        await line.until(lambda: len(bus.replies()) == 3)
    assert bus.claims() == [(1, 1), (1, 2), (2, 3), (3, 4)]


# Cancelling


@timeless
async def test_a_message_that_waits_can_be_cancelled(bus: Bus) -> None:
    bus.write("!hang")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.claims)
        bus.write("!say never", "!say still")
        order = bus.cancel(2)
        line.ring()
        await line.until(lambda: order in bus.outcomes())
        assert bus.outcomes() == {2: "cancelled", order: "cancelled"}
        bus.stop()
        line.ring()
        await line.until(lambda: 3 in bus.outcomes())
    assert bus.claims() == [(1, 1)]


@timeless
async def test_a_message_that_was_seen_is_not_cancelled_any_more(bus: Bus) -> None:
    bus.write("!slow 5\n!say done")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(line.text)
        order = bus.cancel(1)
        line.ring()
        await line.until(bus.replies)
    assert bus.outcomes() == {order: "seen", 1: "answered"}


@timeless
async def test_a_cancel_that_comes_with_its_message_opens_no_turn(bus: Bus) -> None:
    bus.write("!say never")
    again = (bus.cancel(1), bus.cancel(1))
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.outcomes)
    assert bus.outcomes() == {1: "cancelled", again[0]: "cancelled", again[1]: "seen"}
    assert bus.claims() == []


@timeless
async def test_a_cancel_of_what_is_unknown_or_answered_changes_nothing(bus: Bus) -> None:
    bus.write("!say hello")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.replies)
        late, lost = bus.cancel(1), bus.cancel(999)
        line.ring()
        await line.until(lambda: lost in bus.outcomes())
    assert bus.outcomes() == {1: "answered", late: "seen", lost: "seen"}


# Stopping


@timeless
async def test_a_stop_ends_what_waits_before_it_and_nothing_after_it(bus: Bus) -> None:
    bus.note("nearby")
    bus.write("!say never")
    order = bus.stop()
    [after] = bus.write("!say hello")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.replies)
    assert bus.outcomes() == {1: "stopped", 2: "stopped", order: "done", after: "answered"}
    assert bus.replies() == ["hello"]


@timeless
async def test_a_stop_ends_the_running_turn_and_keeps_what_was_said(bus: Bus) -> None:
    bus.write("!say half\n!hang")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(line.text)
        [waiting] = bus.write("!say never")
        order = bus.stop()
        [after] = bus.write("!say next")
        line.ring()
        await line.until(lambda: after in bus.outcomes())
    assert bus.outcomes() == {1: "stopped", waiting: "stopped", order: "done", after: "answered"}
    assert [row.body for row in bus.rows("reply")] == [
        {"text": "half", "answers": [1], "outcome": "stopped"},
        {"text": "next", "answers": [after], "outcome": "answered"},
    ]


@timeless
async def test_a_stop_after_the_turn_is_answered_and_changes_nothing(bus: Bus) -> None:
    bus.write("!say hello")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.replies)
        order = bus.stop()
        line.ring()
        await line.until(lambda: order in bus.outcomes())
    assert bus.outcomes() == {1: "answered", order: "done"}


@timeless
async def test_a_stop_is_found_without_the_line(bus: Bus) -> None:
    bus.write("!hang")
    async with running(bus):
        await asyncio.sleep(1)
        order = bus.stop()
        await asyncio.sleep(1)
    assert bus.outcomes() == {1: "stopped", order: "done"}


@timeless
async def test_a_turn_that_ends_well_in_the_moment_of_its_stop_has_ended_well(
    bus: Bus, scripted: Callable[..., str]
) -> None:
    async def finish_anyway(turn: Turn) -> None:
        turn.take()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        turn.say("just in time")

    bus.write("hello")
    name = scripted(finish_anyway)
    async with LineEnd(bus.line) as line, running(bus, bus.launch(provider=name)):
        await line.until(bus.claims)
        order = bus.stop()
        line.ring()
        await line.until(lambda: order in bus.outcomes())
    assert bus.outcomes() == {1: "answered", order: "done"}
    assert bus.replies() == ["just in time"]


@pytest.mark.usefixtures("foster_parent")
async def test_a_stop_leaves_no_process_of_a_tool_behind(bus: Bus, tmp_path: Path) -> None:
    away = tmp_path / "away"
    tree = (
        f"setsid sh -c 'echo $$ >> {away}; sleep 1000' & "
        f"(setsid nohup sh -c 'sleep 1000 & echo $! $$ >> {away}; wait' &) ; "
        f'sh -c \'trap "" TERM INT HUP; echo $$ >> {away}; '
        f"while [ $(wc -w < {away}) -lt 4 ]; do sleep 0.01; done; echo grown; sleep 1000'"
    )
    bus.write(f"!shell {tree}")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(lambda: line.heard("output"))
        pids = [int(pid) for pid in away.read_text(encoding="utf-8").split()]
        assert len(pids) == 4
        assert all(psutil.pid_exists(pid) for pid in pids)
        bus.stop()
        line.ring()
        await line.until(bus.outcomes)
    assert bus.outcomes()[1] == "stopped"
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []


# Failing, and limits


@timeless
async def test_a_turn_that_fails_says_why_and_the_next_one_works(bus: Bus) -> None:
    bus.write("!say half\n!fail The oven is cold.")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.outcomes)
        bus.write("!say again")
        await line.until(lambda: len(bus.replies()) == 2)
    assert bus.rows("ack")[0].body == {"outcome": "failed", "reason": "The oven is cold."}
    assert [row.body["outcome"] for row in bus.rows("reply")] == ["failed", "answered"]
    assert bus.replies() == ["half", "again"]


@timeless
async def test_a_turn_that_fails_without_a_word_has_no_reply(bus: Bus) -> None:
    bus.write("!fail")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.outcomes)
    assert bus.outcomes() == {1: "failed"}
    assert bus.replies() == []


@timeless
async def test_an_error_of_the_providers_own_fails_its_turn_alone(
    bus: Bus, scripted: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    async def stumble(turn: Turn) -> None:
        if turn.take()[0].text == "bad":
            raise ZeroDivisionError
        await asyncio.sleep(0)

    bus.write("bad")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(provider=scripted(stumble))):
        await line.until(bus.outcomes)
        bus.write("good")
        await line.until(lambda: 2 in bus.outcomes())
    assert bus.outcomes() == {1: "failed", 2: "answered"}
    assert "error of its own" in bus.rows("ack")[0].body["reason"]
    assert "ZeroDivisionError" in caplog.text


@timeless
async def test_an_unknown_provider_fails_the_message_with_plain_words(bus: Bus) -> None:
    bus.write("hello")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(provider="oracle")):
        await line.until(bus.outcomes)
    assert "There is no provider 'oracle'" in bus.rows("ack")[0].body["reason"]


@timeless
async def test_a_turn_that_does_not_end_is_ended_at_its_limit(bus: Bus) -> None:
    bus.write("!hang")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(seconds=60)):
        await line.until(bus.outcomes)
    [ack] = bus.rows("ack")
    assert ack.body["outcome"] == "failed"
    assert "longer than its limit of 60 s" in ack.body["reason"]


@timeless
async def test_a_turn_near_its_limit_of_time_ends_with_a_summary(bus: Bus) -> None:
    bus.write("!slow 62\n!say never")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(seconds=60)):
        await line.until(bus.outcomes)
    assert bus.outcomes() == {1: "answered"}
    assert bus.replies()[0].endswith("The limit of this turn is reached; 1 orders are left undone.")


@timeless
async def test_a_turn_at_its_limit_of_rounds_ends_with_a_summary(bus: Bus) -> None:
    bus.write("!say one\n!say two\n!say three")
    async with LineEnd(bus.line) as line, running(bus, bus.launch(rounds=2)):
        await line.until(bus.outcomes)
    assert bus.outcomes() == {1: "answered"}
    assert bus.replies()[0].startswith("one\ntwo\n")
    assert "1 orders are left undone" in bus.replies()[0]


@timeless
async def test_a_turn_that_the_server_gives_up_fails(bus: Bus) -> None:
    bus.write("!hang")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.claims)
        line.say("cancel")
        await line.until(bus.outcomes)
        line.say("cancel")  # too late for that turn, and none of the next one's business
        bus.write("!say well")
        line.ring()
        await line.until(bus.replies)
    assert bus.outcomes() == {1: "failed", 2: "answered"}
    assert "showed no progress" in bus.rows("ack")[0].body["reason"]


# Leaving


@timeless
async def test_a_runner_without_work_leaves_when_told(bus: Bus) -> None:
    bus.note("nearby")
    async with LineEnd(bus.line) as line, running(bus) as runner:
        await line.until(lambda: line.greetings)
        line.say("retire")
        await runner
    assert bus.rows() == []


@timeless
async def test_a_runner_that_is_told_to_leave_first_does_what_is_pending(bus: Bus) -> None:
    bus.write("!slow 5")
    async with LineEnd(bus.line) as line, running(bus) as runner:
        await line.until(line.text)
        line.say("retire")
        bus.write("!say one")
        bus.stop()
        bus.write("!say two")
        await runner
    assert bus.outcomes() == {1: "stopped", 2: "stopped", 3: "done", 4: "answered"}


@timeless
async def test_a_runner_that_is_always_spoken_to_leaves_all_the_same(
    bus: Bus, scripted: Callable[..., str]
) -> None:
    async def be_asked_again(turn: Turn) -> None:
        for _ in range(2):
            turn.take()
            bus.write("and another thing")
            await asyncio.sleep(1)

    bus.write("hello")
    name = scripted(be_asked_again)
    async with LineEnd(bus.line) as line, running(bus, bus.launch(provider=name)) as runner:
        await line.until(lambda: len(bus.claims()) > 5)
        line.say("retire")
        turns = bus.claims()[-1][0]
        await runner
    assert bus.claims()[-1][0] <= turns + 1
    assert set(bus.outcomes().values()) == {"answered"}


@timeless
async def test_a_runner_that_nobody_cares_for_leaves_after_half_an_hour(bus: Bus) -> None:
    async with running(bus) as runner:
        await asyncio.sleep(1700)
        assert not runner.done()
        await runner
    assert asyncio.get_running_loop().time() == pytest.approx(1800, abs=5)


@timeless
async def test_a_runner_that_lost_its_server_leaves_too(bus: Bus) -> None:
    async with LineEnd(bus.line) as line, running(bus) as runner:
        await line.until(lambda: line.greetings)
        await asyncio.sleep(7200)
        assert not runner.done()
        await line.cut()
        await runner


@timeless
async def test_a_runner_that_is_ousted_writes_nothing_and_ends(bus: Bus) -> None:
    bus.write("!slow 5\n!say mine")
    with pytest.RaisesGroup(Ousted, flatten_subgroups=True):
        async with LineEnd(bus.line) as line, running(bus) as runner:
            await line.until(line.text)
            with closing(sqlite3.connect(bus.outbound)) as conn, conn:
                conn.execute("UPDATE owner SET generation = 2")
            await runner
    assert [row.kind for row in bus.rows()] == ["claim"]


# Disturbances


@timeless
async def test_an_inbound_file_that_cannot_be_read_is_looked_at_again(bus: Bus) -> None:
    bus.write("!say hello")
    leave_a_hot_journal(bus.inbound)
    async with LineEnd(bus.line) as line, running(bus):
        await asyncio.sleep(10)
        assert bus.rows() == []
        heal(bus.inbound)
        await line.until(bus.replies)
    assert bus.replies() == ["hello"]


@timeless
async def test_an_order_is_found_although_the_file_could_not_be_read_for_a_while(bus: Bus) -> None:
    bus.write("!hang")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(bus.claims)
        order = bus.stop()
        leave_a_hot_journal(bus.inbound)
        await asyncio.sleep(10)
        heal(bus.inbound)
        await line.until(lambda: order in bus.outcomes())
    assert bus.outcomes() == {1: "stopped", order: "done"}


@timeless
async def test_a_turn_waits_for_a_history_that_cannot_be_read_now(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may die while the provider is being imported, which takes a second."""
    bus.remember("demo", {"role": "memory", "text": "milk"})
    bus.write("!recall")
    import_module = importlib.import_module

    def import_slowly(name: str) -> ModuleType:
        if name.endswith(".demo"):
            leave_a_hot_journal(bus.inbound)
        return import_module(name)

    monkeypatch.setattr(importlib, "import_module", import_slowly)
    async with LineEnd(bus.line) as line, running(bus):
        await asyncio.sleep(10)
        assert bus.claims() == [(1, 1)]
        heal(bus.inbound)
        await line.until(bus.outcomes)
    assert bus.replies() == ["milk"]


@timeless
async def test_a_server_that_comes_back_is_rung(bus: Bus) -> None:
    bus.write("!slow 5\n!say done")
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(line.text)
        await line.cut()
        await asyncio.sleep(60)
        assert bus.replies()[0].endswith("done")
        bus.write("!say unheard")
        await asyncio.sleep(60)
        assert bus.replies()[1] == "unheard"
        line.frames.clear()
        await line.open()
        await line.until(lambda: len(line.frames) == 2)
        assert [frame["frame"] for frame in line.frames] == ["hello", "ring"]
        bus.write("!say back")
        line.ring()
        await line.until(lambda: "back" in bus.replies())


@timeless
async def test_a_sent_message_and_the_end_of_a_turn_each_ring(bus: Bus) -> None:
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(lambda: line.rings())
        before = line.rings()
        bus.write("!send soon\n!say now")
        line.ring()
        await line.until(lambda: "now" in bus.replies())
        await asyncio.sleep(1)
        assert line.rings() == before + 2


@timeless
async def test_the_claim_of_a_turn_that_lasts_rings(bus: Bus) -> None:
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(lambda: line.rings())
        before = line.rings()
        bus.write("!slow 60")
        line.ring()
        await asyncio.sleep(1)
        assert (line.rings(), len(bus.rows("claim"))) == (before + 1, 1)


@timeless
async def test_an_idle_runner_hardly_ever_wakes_up(bus: Bus) -> None:
    async with LineEnd(bus.line) as line, running(bus):
        await line.until(lambda: line.greetings)
        before = leaps()
        await asyncio.sleep(3600)
        assert leaps() - before <= 3600 / 5 + 5


@timeless
async def test_a_transcript_that_cannot_be_written_stops_nobody(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    (bus.home / "transcript.md").mkdir()
    caplog.set_level(logging.WARNING)
    async with LineEnd(bus.line) as line, running(bus):
        for text in ("one", "two"):
            bus.write(f"!say {text}")
            await line.until(lambda text=text: text in bus.replies())
    assert "transcript" in caplog.text


def heal(path: Path) -> None:
    """Roll a dead writer's journal back, as the server does at its start."""
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("SELECT count(*) FROM messages").fetchone()
