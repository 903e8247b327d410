"""A past that never happened: messages and sessions by the thousand, written as the server writes them.

The server of the data folder must have answered a message, for its tables and its chat, and be ended.
"""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from sqlite3 import Connection

from salver_server.clock import stamp
from salver_server.delivery import store as deliveries
from salver_server.ids import AgentName, MessageId, SessionId, mint, new_epoch
from salver_server.intake import store as intake
from salver_server.intake.accept import local
from salver_server.routing import store as chats
from salver_server.routing.book import LOCAL
from salver_server.runtimes import Identity
from salver_server.sessions import store as bus
from salver_server.sessions.folders import Folders, folders, give
from salver_server.settings import places
from salver_server.store.install import install

AGENT = AgentName("salver")
ROWS_A_TURN = 4
QUESTION, REPLY = "!say pong, and some more words as people write them", "pong, and some more words"


def one_long_session(home: Path, messages: int) -> SessionId:
    """A session in which so many messages were sent and answered, one a turn."""
    with _writing(home) as conn:
        session = _session(conn, messages)
    identity = _identity(home)
    found = _made(home, session, identity)
    with _outbound(found, identity, epoch=_epoch(home, session)) as conn:
        conn.executemany(
            "INSERT INTO log (turn, attempt, kind, message, at, body) VALUES (?, 1, ?, ?, ?, ?)",
            [row for seq in range(1, messages + 1) for row in _turn(seq)],
        )
    return session


def many_sessions(home: Path, sessions: int) -> None:
    """So many sessions of one answered message each, with their folders and files."""
    with _writing(home) as conn:
        ids = [_session(conn, 1) for _ in range(sessions)]
    identity = _identity(home)
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.executescript(_script("inbound.sql"))
        inbound = conn.serialize()
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.executescript(_script("outbound.sql"))
        outbound = conn.serialize()
    for session in ids:
        found = _made(home, session, identity)
        for path, content in {found.inbound: inbound, found.outbound: outbound}.items():
            path.write_bytes(content)
            give(path, identity)


def _session(conn: Connection, messages: int) -> SessionId:
    now, epoch = stamp(datetime.now(UTC)), new_epoch()
    chat = chats.chat(conn, LOCAL, AGENT)
    assert chat
    thread = mint("thr")
    session = bus.open_session(conn, AGENT, chat.id, thread, epoch=epoch, now=now)
    for seq in range(1, messages + 1):
        message = local(
            AGENT,
            QUESTION,
            key=mint("key"),
            sender="you",
            thread=thread,
            sent_at=datetime.now(UTC),
            due_at=None,
        )
        id_ = MessageId(mint("msg"))
        intake.keep(conn, id_, message, files=(), chat=chat.id, now=now)
        bus.hand_over(conn, session, id_, kind="message", due_at=now, now=now)
        bus.mark_queued(conn, session, [seq], now)
        bus.claim(conn, session, seq, turn=seq, now=now)
        bus.settle(conn, session, seq, state="answered", reason="", now=now)
        row = seq * ROWS_A_TURN
        delivery = bus.owe_delivery(
            conn,
            session,
            epoch=epoch,
            seq=row - 2,
            kind="reply",
            text=REPLY,
            answers=[seq],
            now=now,
        )
        assert delivery
        deliveries.done(conn, {delivery: ""}, now)
        bus.keep_continuation(
            conn, session, epoch=epoch, seq=row, provider="demo", body="[]", reset=False
        )
    bus.advance(conn, session, messages * ROWS_A_TURN, now)
    return session


def _turn(seq: int) -> list[tuple[int, str, int | None, str, str]]:
    at = "2026-11-22T09:57:00.000Z"
    reply = f'{{"text":"{REPLY}","answers":[{seq}],"outcome":"answered"}}'
    kept = f'{{"provider":"demo","messages":[{{"role":"user","text":"{QUESTION}"}}]}}'
    return [
        (seq, "claim", seq, at, "{}"),
        (seq, "reply", None, at, reply),
        (seq, "ack", seq, at, '{"outcome":"answered","reason":""}'),
        (seq, "continuation", None, at, kept),
    ]


@contextmanager
def _writing(home: Path) -> Generator[Connection]:
    with closing(sqlite3.connect(places(home).database, isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        yield conn
        conn.execute("COMMIT")


@contextmanager
def _outbound(found: Folders, identity: Identity, *, epoch: int) -> Generator[Connection]:
    with closing(sqlite3.connect(found.outbound)) as conn, conn:
        conn.executescript(_script("outbound.sql"))
        conn.execute("INSERT INTO owner (id, epoch, generation) VALUES (1, ?, 0)", (epoch,))
        yield conn
    give(found.outbound, identity)


def _made(home: Path, session: SessionId, identity: Identity) -> Folders:
    found = folders(places(home), session, AGENT)
    for folder in (found.inbox, found.outbox, found.home):
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700)
        give(folder, identity)
    return found


def _epoch(home: Path, session: SessionId) -> int:
    with _writing(home) as conn:
        row = bus.session(conn, session)
    assert row
    return row.epoch


def _identity(home: Path) -> Identity:
    with _writing(home) as conn:
        this = install(conn)
    return Identity(uid=this.uid, gid=this.gid)


def _script(name: str) -> str:
    return resources.files("salver_server.sessions").joinpath(name).read_text(encoding="utf-8")
