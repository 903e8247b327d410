"""A message's files lie in a session's in/ before the row that names them, as often as it is handed over."""

import json
import os
from pathlib import Path

import pytest

from salver_server.clock import Stamp
from salver_server.errors import Transient
from salver_server.ids import AgentName, MessageId, SessionId
from salver_server.runtimes import Identity
from salver_server.sessions.folders import Folders, folders, make
from salver_server.sessions.incoming import lay
from salver_server.sessions.store import Handover
from salver_server.settings import Places

ME = Identity(uid=os.geteuid(), gid=os.getegid())
SOMEBODY = Identity(uid=54321, gid=54321)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / "home", tmp_path / "sockets")
    (places.intake / "msg-1").mkdir(parents=True)
    (places.intake / "msg-1" / "a.txt").write_bytes(b"hello")
    (places.intake / "msg-1" / "b.txt").write_bytes(b"there")
    return places


def place(places: Places, session: str = "ses-1") -> Folders:
    found = folders(places, SessionId(session), AgentName("salver"))
    make(found, ME)
    return found


def row(*names: str) -> Handover:
    return Handover(
        seq=7,
        message=MessageId("msg-1"),
        kind="message",
        target=None,
        wakes=True,
        state="received",
        sender="ann",
        sent_at=Stamp(""),
        text="",
        quoted="",
        files=json.dumps([{"name": name, "type": "text/plain", "size": 5} for name in names]),
        tainted=False,
        attempts=0,
    )


def test_each_session_gets_files_of_its_own(places: Places) -> None:
    original = places.intake / "msg-1" / "a.txt"
    for session in ("ses-1", "ses-2"):
        lay([row("a.txt", "b.txt")], places, place(places, session), ME)
        copy = places.sessions / session / "in" / "files" / "msg-1" / "a.txt"
        assert copy.read_bytes() == b"hello"
        assert (copy.stat().st_mode & 0o777, copy.stat().st_nlink) == (0o600, 1)
        assert copy.stat().st_ino != original.stat().st_ino
        assert sorted(path.name for path in copy.parent.iterdir()) == ["a.txt", "b.txt"]


def test_what_lies_there_is_not_copied_again_and_what_is_missing_is(places: Places) -> None:
    here = place(places)
    lay([row("a.txt", "b.txt")], places, here, ME)
    kept = (here.files / "msg-1" / "a.txt").stat()
    (here.files / "msg-1" / "b.txt").unlink()
    (here.files / "msg-1" / ".b.txt").write_bytes(b"half a co")  # as a crash leaves it
    lay([row("a.txt", "b.txt")], places, here, ME)
    assert (here.files / "msg-1" / "a.txt").stat() == kept
    assert (here.files / "msg-1" / "b.txt").read_bytes() == b"there"
    assert len(list((here.files / "msg-1").iterdir())) == 2


def test_without_files_nothing_is_made(places: Places) -> None:
    here = place(places)
    lay([row()], places, here, ME)
    assert not here.files.exists()


def test_a_file_that_somebody_removed_does_not_hold_its_message_up(places: Places) -> None:
    here = place(places)
    lay([row("gone.txt", "a.txt")], places, here, ME)
    assert [path.name for path in (here.files / "msg-1").iterdir()] == ["a.txt"]


def test_what_cannot_be_copied_now_is_copied_later(places: Places) -> None:
    here = place(places)
    here.files.write_bytes(b"in the way")
    with pytest.raises(Transient, match="files of message 7 cannot be copied now"):
        lay([row("a.txt")], places, here, ME)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_as_root_the_files_belong_to_the_sandbox_s_user(places: Places) -> None:
    here = place(places)
    lay([row("a.txt")], places, here, SOMEBODY)
    for path in (here.files, here.files / "msg-1", here.files / "msg-1" / "a.txt"):
        assert (path.stat().st_uid, path.stat().st_gid) == (54321, 54321)
