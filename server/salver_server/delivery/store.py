"""SQL of deliveries."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection

from salver_server.clock import Stamp, moment
from salver_server.files import store as files
from salver_server.ids import ChannelName, ChatId, DeliveryId, MessageId, SessionId
from salver_server.messages import DeliveryState, Outbound, Placed


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    outbound: Outbound
    channel: ChannelName
    state: DeliveryState
    attempts: int
    next_at: Stamp
    """Empty: at once."""
    reason: str

    def wait(self, now: datetime) -> float:
        """Seconds until it is due."""
        return (moment(self.next_at) - now).total_seconds() if self.next_at else 0.0


COLUMNS = (
    "d.id, d.session, d.chat, d.thread, d.kind, d.text, d.answers, d.state, d.attempts, d.next_at, d.reason,"
    " c.channel, c.address FROM deliveries d JOIN chats c ON c.id = d.chat"
)


def _delivery(conn: Connection, outgoing: Path, row: tuple[str, ...]) -> Delivery:
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
            files=tuple(
                Placed(file=file, path=outgoing / id_ / file.name)
                for file in files.of_delivery(conn, DeliveryId(id_))
            ),
            answers=tuple(MessageId(message) for message in json.loads(answers)),
        ),
        channel=ChannelName(channel),
        state=state,  # pyright: ignore[reportArgumentType] the column is CHECKed
        attempts=int(attempts),
        next_at=Stamp(next_at),
        reason=reason,
    )


def open_of(conn: Connection, chat: ChatId, *, most: int, outgoing: Path) -> list[Delivery]:
    """What this chat is to get next, in order; its files lie below `outgoing`."""
    rows = conn.execute(
        f"SELECT {COLUMNS} WHERE d.chat = ? AND d.state IN ('waiting', 'sending') ORDER BY d.position LIMIT ?",
        (chat, most),
    )
    return [_delivery(conn, outgoing, row) for row in rows]


def chats_open(conn: Connection) -> list[ChatId]:
    rows = conn.execute(
        "SELECT DISTINCT chat FROM deliveries WHERE state IN ('waiting', 'sending')"
    )
    return [row[0] for row in rows]


def resolve_cut_off(conn: Connection, idempotent: Collection[ChannelName], now: Stamp) -> None:
    """After a crash: what was being sent is sent again where that is harmless, else perhaps delivered."""
    rows = conn.execute(
        "SELECT d.id, c.channel FROM deliveries d INDEXED BY deliveries_open JOIN chats c ON c.id = d.chat"
        " WHERE d.state IN ('waiting', 'sending') AND d.state = 'sending'"
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
        "UPDATE deliveries SET state = 'sending', changed_at = ? WHERE id = ?",
        (now, id_),
    )


def done(conn: Connection, receipts: Mapping[DeliveryId, str], now: Stamp) -> None:
    conn.executemany(
        "UPDATE deliveries SET state = 'delivered', attempts = attempts + 1, receipt = ?, reason = '', changed_at = ?"
        " WHERE id = ?",
        [(receipt, now, id_) for id_, receipt in receipts.items()],
    )


def perhaps(conn: Connection, id_: DeliveryId, reason: str, now: Stamp) -> None:
    conn.execute(
        "UPDATE deliveries SET state = 'perhaps', attempts = attempts + 1, reason = ?, changed_at = ? WHERE id = ?",
        (reason, now, id_),
    )


def later(
    conn: Connection, id_: DeliveryId, *, next_at: Stamp, reason: str, attempts: int, now: Stamp
) -> None:
    """Try again from `next_at` on, after so many attempts."""
    conn.execute(
        "UPDATE deliveries SET state = 'waiting', attempts = ?, next_at = ?, reason = ?,"
        " changed_at = ? WHERE id = ?",
        (attempts, next_at, reason, now, id_),
    )


def failed(conn: Connection, id_: DeliveryId, reason: str, now: Stamp) -> None:
    conn.execute(
        "UPDATE deliveries SET state = 'failed', attempts = attempts + 1, reason = ?, changed_at = ? WHERE id = ?",
        (reason, now, id_),
    )


def exists(conn: Connection, id_: DeliveryId) -> bool:
    return conn.execute("SELECT 1 FROM deliveries WHERE id = ?", (id_,)).fetchone() is not None


def resend(conn: Connection, id_: DeliveryId, now: Stamp) -> ChatId | None:
    """Send once more what failed or perhaps arrived; None if it is in no such state."""
    row = conn.execute(
        "UPDATE deliveries SET state = 'waiting', attempts = 0, next_at = '', changed_at = ?"
        " WHERE id = ? AND state IN ('perhaps', 'failed') RETURNING chat",
        (now, id_),
    ).fetchone()
    return row[0] if row else None
