"""What a person can see of messages and sessions, read from salver.db."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any, Literal

from salver_server.clock import Stamp
from salver_server.files import store as files
from salver_server.ids import DeliveryId, MessageId, SessionId
from salver_server.messages import DeliveryState, File, HandoverState, Release
from salver_server.sessions.store import OPEN

MessageState = Literal[
    "received", "held", "queued", "running", "answered", "delivered", "perhaps delivered", "failed", "stopped",
    "cancelled",
]  # fmt: skip
FINAL: tuple[MessageState, ...] = (
    "delivered",
    "perhaps delivered",
    "failed",
    "stopped",
    "cancelled",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """One message in one session, and how far it has come."""

    id: MessageId
    session: SessionId
    seq: int
    sender: str
    text: str
    files: tuple[File, ...]
    state: MessageState
    position: int | None
    """Its place in the queue, counted from 1, while it is held."""
    release: Release | None
    """What ends its waiting, while it is held."""
    reason: str
    """Why it failed or waits; empty otherwise."""
    delivery: DeliveryId | None
    """What told the person: the reply, or the failure."""
    attempts: int
    turn: int | None
    accepted_at: Stamp
    due_at: Stamp
    changed_at: Stamp
    final: bool
    """Nothing more will happen to it by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    id: DeliveryId
    position: int
    kind: Literal["reply", "send", "failure"]
    text: str
    files: tuple[File, ...]
    state: DeliveryState
    reason: str
    answers: tuple[MessageId, ...]
    created_at: Stamp


POSITION = (
    "CASE WHEN h.state = 'held' THEN (SELECT count(*) FROM handovers q INDEXED BY handovers_open"
    f" WHERE q.session = h.session AND q.{OPEN} AND q.state = 'held' AND q.seq <= h.seq) END"
)
MESSAGE = (
    f"i.id, h.session, h.seq, i.sender, i.text, h.state, {POSITION}, h.release, d.state, d.kind, h.reason,"
    " d.reason, h.delivery, h.attempts, h.turn,"
    " i.accepted_at, h.due_at, h.changed_at FROM handovers h JOIN intake i ON i.id = h.message"
    " LEFT JOIN deliveries d ON d.id = h.delivery"
)


def message(conn: Connection, id_: MessageId) -> MessageView | None:
    """The message in the first of its sessions."""
    row = conn.execute(
        f"SELECT {MESSAGE} WHERE h.message = ? AND i.kind = 'message' ORDER BY h.session LIMIT 1",
        (id_,),
    ).fetchone()
    return _message(conn, row) if row else None


def messages(conn: Connection, session: SessionId, *, most: int) -> list[MessageView]:
    """The latest messages of a session, oldest first."""
    rows = conn.execute(
        f"SELECT {MESSAGE} WHERE h.session = ? AND i.kind = 'message' ORDER BY h.seq DESC LIMIT ?",
        (session, most),
    ).fetchall()
    return [_message(conn, row) for row in reversed(rows)]


def open_messages(conn: Connection, session: SessionId) -> list[MessageView]:
    """What is not answered yet: first the queue in its order, then what was handed over in its."""
    rows = conn.execute(
        f"SELECT {OPEN_MESSAGE} WHERE h.session = ? AND h.{OPEN} AND i.kind = 'message'"
        " ORDER BY h.state <> 'held', h.seq",
        (session,),
    )
    return [_message(conn, row) for row in rows]


OPEN_MESSAGE = MESSAGE.replace("handovers h", "handovers h INDEXED BY handovers_open")


def ended_messages(conn: Connection, session: SessionId, *, most: int) -> list[MessageView]:
    """The latest of a session that a runner owes nothing for any more, oldest first."""
    rows = conn.execute(
        f"SELECT {MESSAGE} WHERE h.session = ? AND NOT h.{OPEN} AND i.kind = 'message'"
        " ORDER BY h.seq DESC LIMIT ?",
        (session, most),
    ).fetchall()
    return [_message(conn, row) for row in reversed(rows)]


def _message(conn: Connection, row: tuple[Any, ...]) -> MessageView:
    (id_, session, seq, sender, text, state, position, release, told, kind, reason, delivery_reason, delivery,
     attempts, turn, accepted_at, due_at, changed_at) = row  # fmt: skip
    shown, why = _state(state, told, kind, reason, delivery_reason)
    return MessageView(
        id=id_, session=session, seq=seq, sender=sender, text=text, files=files.of_message(conn, id_), state=shown,
        position=position,
        release=release if position else None, reason=why, delivery=delivery, attempts=attempts, turn=turn,
        accepted_at=accepted_at, due_at=due_at or accepted_at, changed_at=changed_at,
        final=shown in FINAL or (shown == "answered" and delivery is None),  # a turn may end without a word
    )  # fmt: skip


def _state(
    state: HandoverState,
    delivery: DeliveryState | None,
    kind: str | None,
    reason: str,
    delivery_reason: str,
) -> tuple[MessageState, str]:
    if state == "answered" and kind == "reply":
        match delivery:
            case "delivered":
                return "delivered", ""
            case "perhaps":
                return "perhaps delivered", delivery_reason
            case "failed":
                return (
                    "failed",
                    f"It was answered, but the reply could not be delivered: {delivery_reason}",
                )
            case _:
                return "answered", delivery_reason
    if state == "done":  # only orders end so, and orders are not shown
        return "cancelled", reason
    return state, reason


def deliveries(
    conn: Connection, session: SessionId, *, since: Stamp, after: int = 0, most: int = 100
) -> list[DeliveryView]:
    """The next deliveries of a session from a moment on and above a position, in order."""
    rows = conn.execute(
        "SELECT id, position, kind, text, state, reason, answers, created_at FROM deliveries"
        " WHERE session = ? AND created_at >= ? AND position > ? ORDER BY position LIMIT ?",
        (session, since, after, most),
    )
    return _deliveries(conn, rows)


LONGEST_SHOWN = 5_000_000
"""Characters of deliveries that are shown together; an agent decides how long each is."""


def latest_deliveries(conn: Connection, session: SessionId, *, most: int) -> list[DeliveryView]:
    """The latest deliveries of a session, oldest first."""
    # By their numbers first: sorting the texts would take them all into memory.
    positions = conn.execute(
        "SELECT position FROM deliveries WHERE session = ? ORDER BY created_at DESC, position DESC LIMIT ?",
        (session, most),
    )
    found: list[tuple[Any, ...]] = []
    size = 0
    for position in positions:
        row = conn.execute(
            "SELECT id, position, kind, text, state, reason, answers, created_at FROM deliveries"
            " WHERE position = ?",
            position,
        ).fetchone()
        size += len(row[3])
        if found and size > LONGEST_SHOWN:
            break
        found.append(row)
    return _deliveries(conn, reversed(found))


def reply(conn: Connection, message: MessageId) -> str:
    """The final reply to a message; empty if there is none."""
    row = conn.execute(
        "SELECT d.text FROM handovers h JOIN deliveries d ON d.id = h.delivery"
        " WHERE h.message = ? AND d.kind = 'reply'",
        (message,),
    ).fetchone()
    return row[0] if row else ""


def _deliveries(conn: Connection, rows: Iterable[tuple[Any, ...]]) -> list[DeliveryView]:
    return [
        DeliveryView(
            id=id_,
            position=position,
            kind=kind,
            text=text,
            files=files.of_delivery(conn, id_),
            state=state,
            reason=reason,
            answers=tuple(json.loads(answers)),
            created_at=created_at,
        )
        for id_, position, kind, text, state, reason, answers, created_at in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many messages of a session are where."""

    waiting: int
    running: int


def counts(conn: Connection) -> dict[SessionId, Counts]:
    """Sessions that owe something, with how much."""
    rows = conn.execute(
        "SELECT session, sum(state <> 'running'), sum(state = 'running') FROM handovers"
        f" WHERE {OPEN} AND wakes GROUP BY session"
    )
    return {session: Counts(waiting=waiting, running=running) for session, waiting, running in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How many messages of one session are where."""

    running: int
    waiting: int
    held: int
    free: int
    """Those of the held ones that go on by themselves."""


def work(conn: Connection, session: SessionId, now: Stamp) -> Work:
    row = conn.execute(
        "SELECT total(h.state = 'running'), total(h.state = 'queued' OR h.state = 'received' AND h.due_at <= ?),"
        " total(h.state = 'held'), total(h.state = 'held' AND h.release = 'free')"
        " FROM handovers h INDEXED BY handovers_open JOIN intake i ON i.id = h.message"
        f" WHERE h.session = ? AND h.{OPEN} AND i.kind = 'message'",
        (now, session),
    ).fetchone()
    running, waiting, held, free = (int(count) for count in row)
    return Work(running=running, waiting=waiting, held=held, free=free)
