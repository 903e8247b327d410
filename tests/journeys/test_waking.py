"""Who is woken by what: with every other way cut, each alone still brings every message and every reply."""

import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from salver_server.ids import AgentName, SessionId
from salver_server.runtimes.process.machine import interpreter
from salver_server.sessions.folders import folders
from salver_server.settings import places
from tests.crash.harness import House
from tests.journeys import inside
from tests.journeys.conftest import Build
from tests.journeys.talk import Talk
from tests.journeys.waiting import in_time, until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

LATE = 0.3
"""Seconds that a due message may be seen late."""
NEVER = "86400"
"""Seconds between two sweeps where none must help."""

HOARD = """\
import ctypes, signal
libc = ctypes.CDLL(None)
while libc.inotify_init1(0) >= 0:
    pass
print("hoarded", flush=True)
signal.pause()
"""


def a_turn_each(talks: list[Talk]) -> None:
    """One message to each of them, and the reply of each."""
    for talk, sent in [(talk, talk.say()) for talk in talks]:
        assert sent.token in talk.reply(sent)


def test_watching_alone_misses_none_of_200_turns_in_20_sessions(build: Build) -> None:
    home = build(SALVER_DOORBELL="0", SALVER_SWEEP=NEVER, SALVER_MOST_SANDBOXES="24")
    home.start()
    talks: list[Talk] = []
    for _ in range(5):
        talks += [Talk(home=home) for _ in range(4)]
        a_turn_each(talks)
    home.kill()
    home.start()
    for _ in range(7):
        a_turn_each(talks)
    assert len(home.sent) == 200
    assert {talk.look()["generation"] for talk in talks} == {1}
    home.verify()


def test_the_sweep_alone_brings_every_reply(build: Build) -> None:
    home = build(
        SALVER_DOORBELL="0", SALVER_WATCH="0", SALVER_SWEEP="0.2", SALVER_MOST_SANDBOXES="12"
    )
    home.start()
    talks = [Talk(home=home) for _ in range(10)]
    for _ in range(4):
        a_turn_each(talks)
    home.verify()


def test_a_runner_whose_line_is_cut_is_woken_by_its_inbox(house: House) -> None:
    talk = Talk(home=house)
    talk.ask()
    cut_the_line(talk)
    for _ in range(5):
        talk.ask()
    assert talk.look()["generation"] == 1
    house.verify()


@pytest.mark.skipif(os.geteuid() != 0, reason="would take inotify from the server, too")
def test_a_runner_that_has_neither_line_nor_inotify_looks_for_itself(house: House) -> None:
    hoarder, talk = Talk(home=house), Talk(home=house)
    hoarder.ask()
    (house.home / "agents" / "salver" / "work" / "hoard.py").write_text(HOARD, encoding="utf-8")
    hoard = hoarder.say(f"!shell {interpreter()} hoard.py", ends=("stopped",))
    assert any(event.get("text") == "hoarded\n" for event in hoarder.follow(hoard))

    talk.ask()
    assert not hears_inotify(talk)
    cut_the_line(talk)
    for _ in range(5):
        talk.ask()
    assert talk.look()["generation"] == 1
    hoarder.stop()
    house.settle()
    house.verify()


def cut_the_line(talk: Talk) -> None:
    """Restart the server so that its sockets lie in a folder which the sandbox doesn't see."""
    talk.home.kill()
    where = places(talk.home.home)
    shutil.rmtree(folders(where, SessionId(talk.session), AgentName(talk.agent)).line)
    talk.home.start()
    assert list(Path("/proc", str(inside.init(talk.session)), "root/salver/line").iterdir()) == []


def hears_inotify(talk: Talk) -> bool:
    runner = inside.everyone(talk.session)[1]
    opened = Path("/proc", str(runner.pid), "fd").iterdir()
    return any("inotify" in str(descriptor.readlink()) for descriptor in opened)


def test_a_message_that_is_due_later_waits_for_its_time(house: House) -> None:
    talk = Talk(home=house)
    talk.ask()
    due = datetime.now(UTC) + timedelta(seconds=1)
    later = talk.say(due_at=due.isoformat())
    now = talk.say()
    talk.reply(now)
    assert talk.state(later) == "received"
    until(lambda: talk.state(later) != "received")
    assert due <= datetime.now(UTC) < due + timedelta(seconds=in_time(LATE))
    assert later.token in talk.reply(later)
    house.verify()


def test_a_message_that_came_due_while_no_server_ran_is_answered_at_the_next_start(
    house: House,
) -> None:
    talk = Talk(home=house)
    due = datetime.now(UTC) + timedelta(seconds=0.6)
    sent = talk.say(due_at=due.isoformat())
    assert house.end() == 0
    time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
    house.start()
    assert sent.token in talk.reply(sent)
    house.verify()
