import json
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver_runner import outbox as outbox_module
from salver_runner.outbox import Ack, Ousted, Outbox, Trace, heal
from tests.runner.bus import EPOCH, Bus, Row, leave_a_hot_journal


@contextmanager
def another_hand(path: Path) -> Generator[sqlite3.Connection]:
    """Whoever else writes into the file."""
    with closing(sqlite3.connect(path)) as conn, conn:
        yield conn


def finish(outbox: Outbox, turn: int, *seqs: int, text: str = "done") -> None:
    outbox.close(
        turn,
        1,
        acks=[Ack(seq=seq, outcome="answered") for seq in seqs],
        released=[],
        reply={"text": text, "answers": list(seqs), "outcome": "answered"},
        continuation=("demo", [{"text": text}]),
    )


# Whose file it is


def test_the_runner_makes_the_file_and_owns_it_from_the_first_byte(bus: Bus) -> None:
    bus.outbox(generation=3)
    with another_hand(bus.outbound) as conn:
        assert conn.execute("SELECT epoch, generation FROM owner").fetchall() == [(EPOCH, 3)]


def test_a_file_of_a_lower_generation_is_taken_over(bus: Bus) -> None:
    earlier = bus.outbox(generation=1)
    finish(earlier, 1, 1)
    later = bus.outbox(generation=2)
    finish(later, 2, 2)
    assert bus.outcomes() == {1: "answered", 2: "answered"}
    assert later.done == {1, 2}


@pytest.mark.parametrize(
    ("order", "why"),
    [
        pytest.param("UPDATE owner SET generation = 2", "greater generation", id="greater"),
        pytest.param("UPDATE owner SET epoch = 8", "another epoch", id="epoch"),
        pytest.param("DELETE FROM owner", "no owner", id="nobody"),
    ],
)
def test_a_file_of_somebody_else_is_left_alone(bus: Bus, order: str, why: str) -> None:
    bus.outbox()
    with another_hand(bus.outbound) as conn:
        conn.execute(order)
        before = conn.execute("SELECT * FROM owner").fetchall()
    with pytest.raises(Ousted):
        bus.outbox(generation=1)
    with another_hand(bus.outbound) as conn:
        assert conn.execute("SELECT * FROM owner").fetchall() == before, why


@pytest.mark.parametrize(
    "order",
    [
        "UPDATE owner SET generation = 2",
        "UPDATE owner SET generation = 0",
        "UPDATE owner SET epoch = 8",
        "DELETE FROM owner",
    ],
)
def test_an_ousted_runner_writes_nothing_any_more(bus: Bus, order: str) -> None:
    outbox = bus.outbox()
    with another_hand(bus.outbound) as conn:
        conn.execute(order)
    with pytest.raises(Ousted):
        outbox.claim(1, 1, [1])
    with pytest.raises(Ousted):
        outbox.send(1, 1, "hello")
    with pytest.raises(Ousted):
        outbox.tool(1, 1, "shell", {})
    with pytest.raises(Ousted):
        outbox.answer_controls([Ack(seq=1, outcome="seen")])
    with pytest.raises(Ousted):
        finish(outbox, 1, 1)
    assert bus.rows() == []
    assert outbox.done == set()


# Transactions


def test_a_turn_ends_whole(bus: Bus) -> None:
    outbox = bus.outbox()
    outbox.claim(1, 2, [1, 2, 3])
    outbox.close(
        1,
        2,
        acks=[Ack(seq=1, outcome="answered"), Ack(seq=2, outcome="failed", reason="It rained.")],
        released=[3],
        reply={"text": "grüße", "answers": [1], "outcome": "answered"},
        continuation=("demo", [{"role": "user"}]),
    )
    assert bus.rows()[3:] == [
        row("reply", None, {"text": "grüße", "answers": [1], "outcome": "answered"}),
        row("ack", 1, {"outcome": "answered", "reason": ""}),
        row("ack", 2, {"outcome": "failed", "reason": "It rained."}),
        row("release", 3, {}),
        row("continuation", None, {"provider": "demo", "messages": [{"role": "user"}]}),
    ]
    assert outbox.done == {1, 2}


def row(kind: str, message: int | None, body: dict[str, object]) -> Row:
    return Row(turn=1, attempt=2, kind=kind, message=message, body=body)


def test_a_turn_that_cannot_end_whole_does_not_end_at_all(bus: Bus) -> None:
    outbox = bus.outbox()
    with pytest.raises(TypeError):
        outbox.close(
            1,
            1,
            acks=[Ack(seq=1, outcome="answered")],
            released=[],
            reply={"text": "hello"},
            continuation=("demo", [object()]),
        )
    assert bus.rows() == []
    assert outbox.done == set()
    finish(outbox, 1, 1)
    assert bus.outcomes() == {1: "answered"}


def test_a_reader_makes_a_commit_wait_and_not_fail(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "BUSY", 0.0)
    outbox = bus.outbox()
    outbox.send(1, 1, "one")
    with closing(reader(bus)) as reading:

        def leave_after_a_while(_: float) -> None:
            reading.execute("ROLLBACK")

        monkeypatch.setattr(time, "sleep", leave_after_a_while)
        outbox.send(1, 1, "two")
    assert [row.body["text"] for row in bus.rows("send")] == ["one", "two"]


def test_a_commit_that_cannot_be_made_leaves_the_file_as_it_was(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "BUSY", 0.0)
    monkeypatch.setattr(time, "sleep", float)
    outbox = bus.outbox()
    with closing(reader(bus)), pytest.raises(sqlite3.OperationalError):
        outbox.send(1, 1, "one")
    outbox.send(1, 1, "two")
    assert [row.body["text"] for row in bus.rows("send")] == ["two"]


def reader(bus: Bus) -> sqlite3.Connection:
    """Somebody who has begun to read and does not end."""
    conn = sqlite3.connect(f"file:{bus.outbound}?mode=ro", uri=True, isolation_level=None)
    conn.execute("BEGIN")
    conn.execute("SELECT * FROM log").fetchall()
    return conn


def test_half_a_character_is_replaced(bus: Bus) -> None:
    bus.outbox().send(1, 1, "so \ud83d far")
    assert [row.body["text"] for row in bus.rows()] == ["so ? far"]


# What is done


def test_the_next_turn_is_one_more_than_the_last_one(bus: Bus) -> None:
    outbox = bus.outbox()
    assert outbox.next_turn() == 1
    outbox.claim(1, 1, [1])
    assert outbox.next_turn() == 2
    outbox.answer_controls([Ack(seq=2, outcome="done")])
    assert outbox.next_turn() == 2
    assert bus.outbox(generation=2).next_turn() == 2


def test_orders_are_answered_outside_any_turn(bus: Bus) -> None:
    outbox = bus.outbox()
    outbox.answer_controls([Ack(seq=1, outcome="cancelled"), Ack(seq=2, outcome="cancelled")])
    assert {(row.turn, row.attempt) for row in bus.rows()} == {(0, 0)}
    assert outbox.done == {1, 2}


def test_a_start_remembers_only_what_the_server_has_not_read(bus: Bus) -> None:
    outbox = bus.outbox()
    finish(outbox, 1, 1)
    read = len(bus.rows())
    finish(outbox, 2, 2)
    assert bus.outbox(generation=2, read=read).done == {2}


def test_the_watermark_rises_over_what_is_done_and_settled(bus: Bus) -> None:
    outbox = bus.outbox()
    finish(outbox, 1, 1, 3, 7)
    outbox.settle(())
    assert (outbox.watermark, outbox.done) == (1, {3, 7})
    outbox.settle(((2, 2),))
    assert (outbox.watermark, outbox.done) == (3, {7})
    outbox.settle(((1, 5),))
    assert (outbox.watermark, outbox.done) == (5, {7})
    outbox.settle(((6, 6), (8, 20)))
    assert (outbox.watermark, outbox.done) == (20, set())


NUMBERS = st.integers(min_value=1, max_value=30)
RANGES = st.tuples(NUMBERS, NUMBERS).map(lambda ends: (min(ends), max(ends)))


@given(rounds=st.lists(st.tuples(st.sets(NUMBERS), st.lists(RANGES, max_size=4)), max_size=4))
def test_nothing_below_the_watermark_is_owed_and_the_one_above_it_is(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[tuple[set[int], list[tuple[int, int]]]]
) -> None:
    path = tmp_path_factory.mktemp("out") / "outbound.db"
    outbox = Outbox(path, epoch=1, generation=1, read=0)
    over: set[int] = set()
    for done, ranges in rounds:
        settled = {seq for first, last in ranges for seq in range(first, last + 1)}
        outbox.done |= {seq for seq in done if seq > outbox.watermark}
        outbox.settle(tuple(ranges))
        over |= done | settled
        assert set(range(1, outbox.watermark + 1)) <= over
        assert outbox.watermark + 1 not in outbox.done | settled


# What the next turn is told


def test_history_is_of_one_provider_and_in_order(bus: Bus) -> None:
    outbox = bus.outbox()
    finish(outbox, 1, 1, text="one")
    outbox.close(2, 1, acks=[], released=[], reply=None, continuation=("other", [1]))
    outbox.close(3, 1, acks=[], released=[], reply=None, continuation=None)
    finish(outbox, 4, 2, text="two")
    outbox = bus.outbox(generation=2)
    assert outbox.history("demo") == [{"text": "one"}, {"text": "two"}]
    assert not outbox.began_anew()


def test_what_was_kept_before_the_conversation_began_anew_is_not_remembered(bus: Bus) -> None:
    outbox = bus.outbox()
    finish(outbox, 1, 1, text="old")
    outbox.reset(0, 0, acks=[], anew=("demo", [{"text": "summary"}]))
    finish(outbox, 2, 2, text="new")
    outbox = bus.outbox(generation=2)
    assert outbox.history("demo") == [{"text": "summary"}, {"text": "new"}]
    assert outbox.history("other") == []
    assert outbox.began_anew()


def test_an_order_about_the_memory_that_changes_nothing_is_answered(bus: Bus) -> None:
    outbox = bus.outbox()
    outbox.reset(1, 1, acks=[Ack(seq=1, outcome="failed", reason="No.")], send="Not compacted.")
    assert [row.kind for row in bus.rows()] == ["send", "ack"]
    assert (outbox.done, outbox.began_anew()) == ({1}, False)


def test_traces_are_those_of_unfinished_turns_over_these_messages(bus: Bus) -> None:
    outbox = bus.outbox()
    outbox.claim(1, 1, [1])
    outbox.send(1, 1, "of a turn that ended")
    finish(outbox, 1, 1)
    outbox.claim(2, 1, [2])
    outbox.send(2, 1, "of another message")
    outbox.claim(3, 1, [3, 4])
    outbox.tool(3, 1, "shell", {"command": "ls"})
    outbox.claim(4, 2, [3])
    outbox.send(4, 2, "hello")
    outbox.claim(5, 1, [5])
    outbox.tool(5, 1, "shell", {"command": "of a turn that let go"})
    outbox.close(5, 1, acks=[], released=[5], reply=None, continuation=None)
    expected = [
        Trace(kind="tool", body=json.dumps({"name": "shell", "arguments": {"command": "ls"}})),
        Trace(kind="send", body=json.dumps({"text": "hello"})),
    ]
    found = outbox.traces([3, 5])
    assert [(trace.kind, json.loads(trace.body)) for trace in found] == [
        (trace.kind, json.loads(trace.body)) for trace in expected
    ]


# After a death


def test_healing_rolls_a_hot_journal_back(bus: Bus) -> None:
    finish(bus.outbox(), 1, 1)
    whole = len(bus.rows())
    leave_a_hot_journal(bus.outbound)
    heal(bus.outbound)
    assert list(bus.outbound.parent.iterdir()) == [bus.outbound]
    assert len(bus.rows()) == whole


def test_the_next_runner_heals_as_it_starts(bus: Bus) -> None:
    finish(bus.outbox(), 1, 1)
    leave_a_hot_journal(bus.outbound)
    finish(bus.outbox(generation=2), 2, 2)
    assert bus.outcomes() == {1: "answered", 2: "answered"}


def test_healing_what_is_not_there_makes_nothing(bus: Bus) -> None:
    heal(bus.outbound)
    assert not bus.outbound.exists()


def test_a_turn_that_begins_anew_ends_what_was_kept_before_it(bus: Bus) -> None:
    outbox = bus.outbox()
    for number, anew in enumerate((False, True, False), 1):
        outbox.close(
            number,
            1,
            acks=[],
            released=[],
            reply=None,
            continuation=("demo", [{"of": number}]),
            anew=anew,
        )
    assert outbox.history("demo") == [{"of": 2}, {"of": 3}]
    assert outbox.history("other") == []
    assert outbox.began_anew()
