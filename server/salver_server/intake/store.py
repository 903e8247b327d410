"""SQL of accepted messages and of orders about them."""

import json
from collections.abc import Sequence
from datetime import datetime
from sqlite3 import Connection

from salver_server.clock import Stamp, moment, stamp
from salver_server.ids import ChannelName, ChatId, MessageId, SessionId, mint
from salver_server.messages import File, HandoverState, Inbound
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
        "INSERT INTO intake (id, kind, channel, key, chat, thread, sender, text, files, sent_at, accepted_at)"
        " VALUES (?, 'message', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            id_,
            message.channel,
            message.key,
            chat,
            message.thread,
            message.sender,
            message.text,
            json.dumps(listed),
            stamp(message.sent_at),
            now,
        ),
    )


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
        if handed and _has_runner(conn, session):
            _order(conn, session, kind="cancel", target=seq, now=now)
        elif bus.settle(conn, session, seq, state="cancelled", reason="", now=now):
            state = "cancelled"
        found.append((session, state))
    return found


def order_stop(conn: Connection, session: SessionId, now: Stamp) -> bool:
    """Stop what runs and waits in a session; false if there is no such open session."""
    found = bus.session(conn, session)
    if found is None or found.state != "open":
        return False
    if _has_runner(conn, session):
        _order(conn, session, kind="stop", target=None, now=now)
    else:
        for row in [*bus.pending(conn, session), *bus.due(conn, session, now)]:
            if row.kind == "message":
                bus.settle(conn, session, row.seq, state="stopped", reason="Stopped.", now=now)
    return True


def _has_runner(conn: Connection, session: SessionId) -> bool:
    """Whether some runner may own the session: then only it can say what it has seen."""
    return (
        conn.execute("SELECT 1 FROM sandboxes WHERE session = ?", (session,)).fetchone() is not None
    )


def _order(
    conn: Connection, session: SessionId, *, kind: str, target: int | None, now: Stamp
) -> None:
    id_ = MessageId(mint("ord"))
    conn.execute(
        "INSERT INTO intake (id, kind, channel, key, sender, text, sent_at, accepted_at)"
        " VALUES (?, ?, 'salver', ?, 'salver', '', ?, ?)",
        (id_, kind, id_, now, now),
    )
    bus.hand_over(
        conn,
        session,
        id_,
        kind="cancel" if kind == "cancel" else "stop",
        now=now,
        target=target,
    )


def again(
    conn: Connection, message: MessageId, now: datetime
) -> tuple[HandoverState, Inbound] | None:
    """The state of a message and what sending it once more would be."""
    row = conn.execute(
        "SELECT h.state, i.channel, c.address, i.thread, i.sender, i.text, i.sent_at FROM intake i"
        " JOIN handovers h ON h.message = i.id JOIN chats c ON c.id = i.chat"
        " WHERE i.id = ? AND i.kind = 'message'",
        (message,),
    ).fetchone()
    if row is None:
        return None
    state, channel, address, thread, sender, text, sent_at = row
    inbound = Inbound(
        channel=channel,
        address=address,
        thread=thread,
        key=f"again:{message}:{stamp(now)}",
        sender=sender,
        text=text,
        sent_at=moment(sent_at),
    )
    return state, inbound
