"""SQL of accepted messages and of orders about them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from sqlite3 import Connection
from typing import Literal

from salver_server.clock import Stamp, moment, stamp
from salver_server.ids import AgentName, ChannelName, ChatId, MessageId, SessionId, mint
from salver_server.messages import File, HandoverState, Inbound, Quoted
from salver_server.sessions import queue
from salver_server.sessions import store as bus


def by_key(conn: Connection, channel: ChannelName, key: str) -> MessageId | None:
    row = conn.execute(
        "SELECT id FROM intake WHERE channel = ? AND key = ?", (channel, key)
    ).fetchone()
    return row[0] if row else None


def sessions_of(conn: Connection, message: MessageId) -> list[SessionId]:
    rows = conn.execute(
        "SELECT session FROM handovers WHERE message = ? ORDER BY session", (message,)
    )
    return [row[0] for row in rows]


def keep(
    conn: Connection,
    id_: MessageId,
    message: Inbound,
    *,
    chat: ChatId,
    files: Sequence[File],
    now: Stamp,
) -> None:
    listed = [{"name": file.name, "type": file.type, "size": file.size} for file in files]
    conn.execute(
        "INSERT INTO intake (id, kind, channel, key, chat, thread, sender, text, quoted, files, sent_at, accepted_at)"
        " VALUES (?, 'message', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            id_,
            message.channel,
            message.key,
            chat,
            message.thread,
            message.sender,
            message.text,
            json.dumps(asdict(message.quoted)) if message.quoted else "",
            json.dumps(listed),
            stamp(message.sent_at),
            now,
        ),
    )


def obeyed(
    conn: Connection, session: bus.Session, message: MessageId, answer: str, now: Stamp
) -> None:
    """A message that was a command is over in this session, and answered."""
    seq = bus.next_seq(conn, session.id)
    conn.execute(
        "INSERT INTO handovers (session, seq, message, wakes, state, due_at, changed_at)"
        " VALUES (?, ?, ?, 0, 'answered', ?, ?)",
        (session.id, seq, message, bus.AT_ONCE, now),
    )
    bus.owe_delivery(
        conn,
        session.id,
        epoch=session.epoch,
        seq=-seq,
        kind="reply",
        text=answer,
        answers=[seq],
        now=now,
    )


def standing(conn: Connection, message: MessageId) -> list[tuple[SessionId, int, HandoverState]]:
    """A message's sessions, with its number and its state in each."""
    return conn.execute(
        "SELECT h.session, h.seq, h.state FROM handovers h JOIN intake i ON i.id = h.message"
        " WHERE h.message = ? AND i.kind = 'message' ORDER BY h.session",
        (message,),
    ).fetchall()


def edit(conn: Connection, message: MessageId, text: str) -> None:
    conn.execute("UPDATE intake SET text = ? WHERE id = ?", (text, message))


def quoted(
    conn: Connection, id_: str, *, agent: AgentName, thread: str | None
) -> tuple[str, str] | None:
    """Sender and text of a message or a delivery of this conversation with an agent."""
    return conn.execute(
        "SELECT i.sender, i.text FROM intake i JOIN handovers h ON h.message = i.id"
        " JOIN sessions s ON s.id = h.session"
        " WHERE i.id = ?1 AND i.kind = 'message' AND s.agent = ?2 AND s.thread IS ?3 AND s.state = 'open'"
        " UNION ALL SELECT s.agent, d.text FROM deliveries d JOIN sessions s ON s.id = d.session"
        " WHERE d.id = ?1 AND s.agent = ?2 AND s.thread IS ?3 AND s.state = 'open'",
        (id_, agent, thread),
    ).fetchone()


def order_cancel(
    conn: Connection, message: MessageId, now: Stamp
) -> list[tuple[SessionId, HandoverState]]:
    """Cancel a message in each of its sessions; returns where, and its state there by now."""
    found: list[tuple[SessionId, HandoverState]] = []
    rows = conn.execute(
        "SELECT h.session, h.seq, h.state, h.due_at FROM handovers h JOIN intake i ON i.id = h.message"
        " WHERE h.message = ? AND i.kind = 'message'",
        (message,),
    ).fetchall()
    for session, seq, state, due_at in rows:
        # What is due may lie in inbound.db before that is noted, so a runner may have seen it.
        handed = state in ("queued", "running") or (state == "received" and due_at <= now)
        if handed and has_runner(conn, session):
            order(conn, session, kind="cancel", target=seq, now=now)
        elif bus.settle(conn, session, seq, state="cancelled", reason="", now=now):
            state = "cancelled"
            queue.release_next(conn, session, now)
        found.append((session, state))
    return found


def order_stop(conn: Connection, session: SessionId, now: Stamp) -> bool:
    """Stop what runs and waits in a session; false if there is no such open session."""
    found = bus.session(conn, session)
    if found is None or found.state != "open":
        return False
    if has_runner(conn, session):
        order(conn, session, kind="stop", now=now)
    else:
        for row in [*bus.pending(conn, session), *bus.due(conn, session, now)]:
            if row.kind in bus.STOPPABLE:
                bus.settle(conn, session, row.seq, state="stopped", reason="Stopped.", now=now)
        queue.release_next(conn, session, now)
    return True


def has_runner(conn: Connection, session: SessionId) -> bool:
    """Whether some runner may own the session: then only it can say what it has seen."""
    return (
        conn.execute("SELECT 1 FROM sandboxes WHERE session = ?", (session,)).fetchone() is not None
    )


def order(
    conn: Connection,
    session: SessionId,
    *,
    kind: Literal["cancel", "stop", "clear", "compact"],
    target: int | None = None,
    now: Stamp,
) -> None:
    """Tell the runner what a person wants; it comes after everything that was said before."""
    id_ = MessageId(mint("ord"))
    conn.execute(
        "INSERT INTO intake (id, kind, channel, key, sender, text, sent_at, accepted_at)"
        " VALUES (?, ?, 'salver', ?, 'salver', '', ?, ?)",
        (id_, kind, id_, now, now),
    )
    bus.hand_over(conn, session, id_, kind=kind, now=now, target=target)


def again(
    conn: Connection, message: MessageId, now: datetime
) -> tuple[HandoverState, Inbound] | None:
    """The state of a message and what sending it once more would be."""
    row = conn.execute(
        "SELECT h.state, i.channel, c.address, i.thread, i.sender, i.text, i.quoted, i.sent_at FROM intake i"
        " JOIN handovers h ON h.message = i.id JOIN chats c ON c.id = i.chat"
        " WHERE i.id = ? AND i.kind = 'message'",
        (message,),
    ).fetchone()
    if row is None:
        return None
    state, channel, address, thread, sender, text, quoted, sent_at = row
    inbound = Inbound(
        channel=channel,
        address=address,
        thread=thread,
        key=f"again:{message}:{stamp(now)}",
        sender=sender,
        text=text,
        quoted=Quoted(**json.loads(quoted)) if quoted else None,
        sent_at=moment(sent_at),
    )
    return state, inbound
