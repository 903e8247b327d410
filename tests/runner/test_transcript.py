import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from salver_runner.inbox import Inbox
from salver_runner.outbox import Ack, Outbox
from salver_runner.transcript import Transcript
from tests.runner.bus import Bus, leave_a_hot_journal


class Conversation:
    """Turns over real files, and the transcript that is made of them."""

    def __init__(self, bus: Bus, *, epoch: int = 1) -> None:
        self.bus = bus
        self.path = bus.home / "transcript.md"
        self.outbox = Outbox(bus.outbound, epoch=epoch, generation=1, read=0)
        self.transcript = Transcript(self.path, Inbox(path=bus.inbound), self.outbox)

    def turn(self, question: str, answer: str) -> None:
        [seq] = self.bus.write(question)
        number = self.outbox.next_turn()
        self.outbox.claim(number, 1, [seq])
        self.outbox.close(
            number,
            1,
            acks=[Ack(seq=seq, outcome="answered")],
            released=[],
            reply={"text": answer},
            continuation=None,
        )

    def text(self) -> str:
        """As a person sees it."""
        return re.sub(r"<!--.*?-->\n", "", self.path.read_text(encoding="utf-8"))


@pytest.fixture
def talk(bus: Bus) -> Conversation:
    return Conversation(bus)


def test_a_person_can_read_it(bus: Bus, talk: Conversation) -> None:
    [seq] = bus.write("Is there *milk*?", sender="Ada")
    talk.outbox.claim(1, 1, [seq])
    talk.outbox.send(1, 1, "Let me see.")
    talk.outbox.tool(1, 1, "shell", {"command": "ls kühlschrank"})
    talk.outbox.close(
        1,
        1,
        acks=[Ack(seq=seq, outcome="failed", reason="The door is stuck.")],
        released=[],
        reply={"text": "I could not"},
        continuation=("demo", []),
    )
    talk.transcript.extend()
    at = talk.outbox.turns(after=0)[0][3][:16].replace("T", " ")
    assert talk.text() == (
        "**Ada**, 2026-11-22 09:57\n\nIs there *milk*?\n\n"
        f"**agent**, {at}\n\nLet me see.\n\n"
        '> `shell` {"command": "ls kühlschrank"}\n\n'
        f"**agent**, {at}\n\nI could not\n\n"
        "*The door is stuck.*\n\n"
    )


def test_it_grows_by_what_is_new(talk: Conversation) -> None:
    talk.turn("one", "ONE")
    talk.transcript.extend()
    first = talk.path.read_bytes()
    talk.turn("two", "TWO")
    talk.transcript.extend()
    talk.transcript.extend()
    assert talk.path.read_bytes().startswith(first)
    assert words(talk) == ["one", "ONE", "two", "TWO"]


def words(talk: Conversation) -> list[str]:
    return re.findall(r"^\w+$", talk.text(), re.MULTILINE)


def test_without_anything_to_say_there_is_nothing_in_it(talk: Conversation) -> None:
    talk.transcript.extend()
    assert talk.text() == ""


def test_it_is_written_anew_when_it_is_missing(talk: Conversation) -> None:
    talk.turn("one", "ONE")
    talk.transcript.extend()
    talk.path.unlink()
    talk.turn("two", "TWO")
    talk.transcript.extend()
    assert words(talk) == ["one", "ONE", "two", "TWO"]


@pytest.mark.parametrize("lost", [1, 30, 60, 80])
def test_it_is_continued_after_a_crash_in_the_middle(talk: Conversation, lost: int) -> None:
    talk.turn("one", "ONE")
    talk.transcript.extend()
    talk.turn("two", "TWO")
    talk.transcript.extend()
    whole = talk.path.read_bytes()
    talk.path.write_bytes(whole[:-lost])
    talk.transcript.extend()
    assert talk.path.read_bytes() == whole


def test_what_an_earlier_file_said_stays(bus: Bus, talk: Conversation) -> None:
    talk.turn("one", "ONE")
    talk.transcript.extend()
    bus.outbound.unlink()
    later = Conversation(bus, epoch=2)
    later.turn("two", "TWO")
    later.transcript.extend()
    later.turn("three", "THREE")
    later.transcript.extend()
    assert words(later) == ["one", "ONE", "two", "TWO", "three", "THREE"]


def test_what_an_earlier_file_said_outlives_a_crash(bus: Bus, talk: Conversation) -> None:
    talk.turn("one", "ONE")
    talk.transcript.extend()
    bus.outbound.unlink()
    later = Conversation(bus, epoch=2)
    later.turn("two", "TWO")
    later.transcript.extend()
    later.path.write_bytes(later.path.read_bytes()[:-70])
    later.transcript.extend()
    assert words(later) == ["one", "ONE", "two", "TWO"]


def test_what_a_tool_left_in_its_place_is_not_followed(talk: Conversation, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine", encoding="utf-8")
    talk.path.symlink_to(precious)
    talk.turn("one", "ONE")
    talk.transcript.extend()
    assert precious.read_text(encoding="utf-8") == "mine"
    talk.path.unlink()
    talk.transcript.extend()
    assert words(talk) == ["one", "ONE"]


def test_a_pipe_in_its_place_holds_nobody_up(talk: Conversation) -> None:
    talk.path.unlink(missing_ok=True)
    os.mkfifo(talk.path)
    talk.turn("one", "ONE")
    talk.transcript.extend()


def test_what_cannot_be_read_now_is_written_later(bus: Bus, talk: Conversation) -> None:
    talk.turn("one", "ONE")
    leave_a_hot_journal(bus.inbound)
    talk.transcript.extend()
    with closing(sqlite3.connect(bus.inbound)) as conn:
        conn.execute("SELECT count(*) FROM messages").fetchone()
    talk.transcript.extend()
    assert words(talk) == ["one", "ONE"]
