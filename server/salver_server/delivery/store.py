"""SQL of deliveries."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from sqlite3 import Connection

from salver_server.clock import Stamp
from salver_server.ids import ChannelName, ChatId, DeliveryId, MessageId, SessionId
from salver_server.messages import DeliveryState, Outbound


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    outbound: Outbound
    channel: ChannelName
    state: DeliveryState
    attempts: int
    next_at: Stamp
    reason: str


COLUMNS = (
    "d.id, d.session, d.chat, d.thread, d.kind, d.text, d.answers, d.state, d.attempts, d.next_at, d.reason,"
    " c.channel, c.address FROM deliveries d JOIN chats c ON c.id = d.chat"
)


def _delivery(row: tuple[str, ...]) -> Delivery:
    (
        id_,
        session,
        chat,
        thread,
        kind,
        text,
        answers,
        state,
        attempts,
        next_at,
        reason,
        channel,
        address,
    ) = row
    return Delivery(
        outbound=Outbound(
            id=DeliveryId(id_),
            chat=ChatId(chat),
            address=address,
            thread=thread,
            session=SessionId(session),
            kind=kind,  # pyright: ignore[reportArgumentType] the column is CHECKed
            text=text,
            answers=tuple(MessageId(message) for message in json.loads(answers)),
        ),
        channel=ChannelName(channel),
        state=state,  # pyright: ignore[reportArgumentType] the column is CHECKed
        attempts=int(attempts),
        next_at=Stamp(next_at),
        reason=reason,
    )


def first_open(conn: Connection, chat: ChatId) -> Delivery | None:
    """What this chat is to get next."""
    row = conn.execute(
        f"SELECT {COLUMNS} WHERE d.chat = ? AND d.state IN ('waiting', 'sending') ORDER BY d.position LIMIT 1",
        (chat,),
    ).fetchone()
    return _delivery(row) if row else None


def chats_open(conn: Connection) -> list[ChatId]:
    rows = conn.execute(
        "SELECT DISTINCT chat FROM deliveries WHERE state IN ('waiting', 'sending')"
    )
    return [row[0] for row in rows]


def resolve_cut_off(conn: Connection, idempotent: Collection[ChannelName], now: Stamp) -> None:
    """After a crash: what was being sent is sent again where that is harmless, else perhaps delivered."""
    rows = conn.execute(
        "SELECT d.id, c.channel FROM deliveries d JOIN chats c ON c.id = d.chat WHERE d.state = 'sending'"
    ).fetchall()
    for id_, channel in rows:
        if channel in idempotent:
            conn.execute(
                "UPDATE deliveries SET state = 'waiting', changed_at = ? WHERE id = ?", (now, id_)
            )
        else:
            perhaps(conn, id_, CUT_OFF, now)


CUT_OFF = "Salver ended while this was being sent; whether it arrived is not known."


def begin(conn: Connection, id_: DeliveryId, now: Stamp) -> None:
    conn.execute(
        "UPDATE deliveries SET state = 'sending', attempts = attempts + 1, changed_at = ? WHERE id = ?",
        (now, id_),
    )


def done(conn: Connection, id_: DeliveryId, receipt: str, now: Stamp) -> None:
    conn.execute(
        "UPDATE deliveries SET state = 'delivered', receipt = ?, reason = '', changed_at = ? WHERE id = ?",
        (receipt, now, id_),
    )


def perhaps(conn: Connection, id_: DeliveryId, reason: str, now: Stamp) -> None:
    conn.execute(
        "UPDATE deliveries SET state = 'perhaps', reason = ?, changed_at = ? WHERE id = ?",
        (reason, now, id_),
    )


def later(
    conn: Connection, id_: DeliveryId, *, next_at: Stamp, reason: str, counts: bool, now: Stamp
) -> None:
    """Try again from `next_at` on; an attempt that does not count is as if it had not been made."""
    conn.execute(
        "UPDATE deliveries SET state = 'waiting', attempts = attempts - ?, next_at = ?, reason = ?,"
        " changed_at = ? WHERE id = ?",
        (0 if counts else 1, next_at, reason, now, id_),
    )


def failed(conn: Connection, id_: DeliveryId, reason: str, now: Stamp) -> None:
    conn.execute(
        "UPDATE deliveries SET state = 'failed', reason = ?, changed_at = ? WHERE id = ?",
        (reason, now, id_),
    )


def exists(conn: Connection, id_: DeliveryId) -> bool:
    return conn.execute("SELECT 1 FROM deliveries WHERE id = ?", (id_,)).fetchone() is not None


def resend(conn: Connection, id_: DeliveryId, now: Stamp) -> ChatId | None:
    """Send once more what failed or perhaps arrived; None if it is in no such state."""
    row = conn.execute(
        "UPDATE deliveries SET state = 'waiting', attempts = 0, next_at = ?, changed_at = ?"
        " WHERE id = ? AND state IN ('perhaps', 'failed') RETURNING chat",
        (now, now, id_),
    ).fetchone()
    return row[0] if row else None
