"""The bus from both ends: what one side writes, the other reads; the two share no code but agree in every word."""

from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import salver_runner
from salver_runner import launch as runner_launch
from salver_runner.inbox import Inbox
from salver_runner.outbox import Ack, Outbox
from salver_runner.workspace.outgoing import lay
from salver_server import sessions
from salver_server.accounts import Choice, Model
from salver_server.agents import parse
from salver_server.clock import Stamp
from salver_server.ids import AgentName, MessageId, SessionId
from salver_server.runtimes import Identity
from salver_server.sessions import launch as server_launch
from salver_server.sessions import line
from salver_server.sessions.outgoing import PLACE, brings
from salver_server.sessions.reading import open_reading
from salver_server.sessions.store import Handover, Session
from tests.server.accounts.conftest import account

EPOCH = 4711
HERE = Path(salver_runner.__file__).parent
THERE = Path(sessions.__file__).parent


def test_both_sides_know_one_outbound_file() -> None:
    assert tables(HERE / "outbound.sql") == tables(THERE / "outbound.sql")


def test_both_sides_speak_one_version() -> None:
    assert runner_launch.PROTOCOL == line.PROTOCOL


async def test_the_server_reads_every_kind_of_row_that_a_runner_writes(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbound.db", epoch=EPOCH, generation=3, read=0)
    outbox.claim(1, 1, [1, 2])
    outbox.send(1, 1, "on my way")
    outbox.tool(1, 1, "shell", {"command": "true"})
    outbox.answer_controls([Ack(seq=3, outcome="done")])
    outbox.close(
        1,
        1,
        acks=[Ack(seq=1, outcome="answered")],
        released=[2],
        reply={"text": "hello", "answers": [1], "outcome": "answered"},
        continuation=("demo", [{"role": "user", "text": "hi"}]),
    )
    outbox.reset(0, 0, acks=[Ack(seq=4, outcome="done")], send="cleared", anew=("demo", []))
    async with open_reading() as reading:
        page = await reading.read(tmp_path, epoch=EPOCH, after=0)
    assert page.generation == 3
    assert [(row.kind, row.message) for row in page.rows] == [
        ("claim", 1),
        ("claim", 2),
        ("send", None),
        ("tool", None),
        ("ack", 3),
        ("reply", None),
        ("ack", 1),
        ("release", 2),
        ("continuation", None),
        ("continuation", None),
        ("send", None),
        ("ack", 4),
    ]
    assert page.rows[9].body == {"provider": "demo", "messages": [], "reset": True}
    assert page.rows[5].body == {"text": "hello", "answers": [1], "outcome": "answered"}


async def test_the_server_takes_a_file_that_a_runner_sends(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbound.db", epoch=EPOCH, generation=3, read=0)
    (tmp_path / "a.txt").write_bytes(b"hello")
    outbox.send(1, 1, "here", [lay(str(tmp_path / "a.txt"), outbox.files)])
    async with open_reading() as reading:
        (row,) = (await reading.read(tmp_path, epoch=EPOCH, after=0)).rows
    assert brings(row)
    (one,) = row.body["files"]
    assert PLACE.fullmatch(one["place"])
    assert (one["name"], one["size"]) == ("a.txt", 5)
    assert (tmp_path / "files" / one["place"] / "a.txt").read_bytes() == b"hello"


def test_the_runner_reads_what_the_server_hands_over(tmp_path: Path) -> None:
    path = tmp_path / "inbound.db"
    with closing(connect(path)) as conn, conn:
        conn.executescript((THERE / "inbound.sql").read_text(encoding="utf-8"))
        conn.execute(
            "INSERT INTO messages (seq, id, kind, target, sender, sent_at, text, tainted, wakes)"
            " VALUES (1, 'msg-1', 'message', NULL, 'you', '2026-11-22T10:00:00.000Z', 'hi', 0, 1),"
            " (2, 'ord-1', 'cancel', 1, 'salver', '2026-11-22T10:00:01.000Z', '', 0, 1)"
        )
        conn.execute("INSERT INTO settled (first, last) VALUES (1, 1)")
    snapshot = Inbox(path=path).read(after=0)
    assert snapshot is not None
    assert [(row.seq, row.kind, row.target) for row in snapshot.pending(set())] == [
        (2, "cancel", 1)
    ]


def test_the_runner_reads_the_launch_record_that_the_server_writes(tmp_path: Path) -> None:
    definition = parse("---\nname: Ada\nprovider: demo\nlimits:\n  rounds: 7\n---\nBe brief.")
    session = Session(
        id=SessionId("ses-1"),
        agent=AgentName("ada"),
        chat=None,
        thread=None,
        state="open",
        generation=2,
        epoch=EPOCH,
        read_seq=9,
        token_hash=None,
        model="",
        trouble="",
        created_at=Stamp("2026-11-22T10:00:00.000Z"),
        active_at=Stamp("2026-11-22T10:00:00.000Z"),
    )
    waiting = Handover(
        seq=5,
        message=MessageId("msg-5"),
        kind="message",
        target=None,
        wakes=True,
        state="queued",
        sender="you",
        sent_at=Stamp("2026-11-22T10:00:00.000Z"),
        quoted="",
        files="[]",
        text="hi",
        tainted=False,
        attempts=1,
    )
    model = Model(account=account("openai"), wire="responses", name="gpt-9", window=1000, sees=True)
    choice = Choice(runner="pydantic-ai", pack=None, models=(model,))
    fields = server_launch.record(
        session, definition, choice, generation=3, token="t", pending=[waiting], failpoint=""
    )
    path = tmp_path / "launch.json"
    owner = tmp_path.stat()
    identity = Identity(uid=owner.st_uid, gid=owner.st_gid)
    server_launch.write(path, fields, identity)
    read = runner_launch.read_launch(path)
    assert (read.session, read.generation, read.epoch, read.read) == ("ses-1", 3, EPOCH, 9)
    assert (read.agent, read.provider, read.instructions) == ("Ada", "pydantic-ai", "Be brief.")
    assert read.models == (
        runner_launch.Choice(
            provider="openai", wire="responses", model="gpt-9", window=1000, sees=True
        ),
    )
    assert read.limits.rounds == 7
    assert read.attempts == {5: 1}


def tables(script: Path) -> list[str]:
    with closing(connect(":memory:")) as conn:
        conn.executescript(script.read_text(encoding="utf-8"))
        return [row[0] for row in conn.execute("SELECT sql FROM sqlite_schema ORDER BY name")]
