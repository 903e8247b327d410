from pathlib import Path

import pytest

from salver_runner.inbox import Inbox, Message, Snapshot
from tests.runner.bus import SENT_AT, Bus, leave_a_hot_journal


@pytest.fixture
def inbox(bus: Bus) -> Inbox:
    return Inbox(path=bus.inbound)


def look(inbox: Inbox, *, after: int = 0) -> Snapshot:
    snapshot = inbox.read(after=after)
    assert snapshot is not None
    return snapshot


def numbers(rows: list[Message] | tuple[Message, ...]) -> list[int]:
    return [row.seq for row in rows]


def test_what_was_handed_over_is_there_in_order(bus: Bus, inbox: Inbox) -> None:
    bus.write("hello", sender="Ada")
    bus.note("the cat came in")
    bus.cancel(1)
    bus.stop()
    rows = look(inbox).rows
    assert rows[0] == Message(
        seq=1,
        id="m-1",
        kind="message",
        target=None,
        sender="Ada",
        sent_at=SENT_AT,
        text="hello",
        wakes=True,
    )
    assert [(row.kind, row.wakes, row.target) for row in rows[1:]] == [
        ("note", False, None),
        ("cancel", True, 1),
        ("stop", True, None),
    ]


def test_only_what_is_above_the_watermark_is_read(bus: Bus, inbox: Inbox) -> None:
    bus.write("one", "two", "three")
    assert numbers(look(inbox, after=2).rows) == [3]


def test_what_is_settled_or_done_is_not_pending(bus: Bus, inbox: Inbox) -> None:
    bus.write(*"abcdefgh")
    bus.settle(1, 2)
    bus.settle(4, 4)
    bus.settle(6, 7)
    assert numbers(look(inbox).pending(done=set())) == [3, 5, 8]
    assert numbers(look(inbox).pending(done={5})) == [3, 8]


def test_a_long_settled_history_is_not_read_again(bus: Bus, inbox: Inbox) -> None:
    bus.write(*"abcdefgh")
    bus.settle(1, 4)
    bus.settle(5, 6)
    bus.settle(8, 8)
    assert numbers(look(inbox).rows) == [7, 8]
    assert look(inbox).settled == ((1, 4), (5, 6), (8, 8))


def test_a_file_that_takes_the_old_ones_place_is_seen_at_the_next_look(
    bus: Bus, inbox: Inbox, tmp_path: Path
) -> None:
    bus.write("old")
    assert look(inbox).rows[0].text == "old"
    (tmp_path / "other").mkdir()
    other = Bus(tmp_path / "other")
    other.write("new")
    other.inbound.replace(bus.inbound)
    assert look(inbox).rows[0].text == "new"


def test_a_file_with_a_dead_writers_journal_cannot_be_read_now(bus: Bus, inbox: Inbox) -> None:
    bus.write("hello")
    leave_a_hot_journal(bus.inbound)
    assert inbox.read(after=0) is None
    assert inbox.history() is None


def test_a_file_that_is_not_there_cannot_be_read_now(tmp_path: Path) -> None:
    inbox = Inbox(path=tmp_path / "inbound.db")
    assert inbox.read(after=0) is None
    assert inbox.history() is None
    assert not inbox.path.exists()


def test_texts_are_found_by_number(bus: Bus, inbox: Inbox) -> None:
    bus.write("hello", "you there")
    assert inbox.texts([2, 99]) == {2: ("Ada", SENT_AT, "you there")}
    assert inbox.texts([]) == {}


def test_history_comes_oldest_first(bus: Bus, inbox: Inbox) -> None:
    bus.remember("demo", 1)
    bus.remember("other", 2)
    assert inbox.history() == [("demo", "[1]"), ("other", "[2]")]
