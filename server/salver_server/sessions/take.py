"""What a runner wrote becomes ours, row by row, in one transaction of salver.db.

Nothing in these rows is trusted: numbers must be of messages that were handed over, shapes must be
right, and a row is known by session, epoch and sequence, never by a name that the sandbox chose.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import cast

from salver_server.clock import Stamp
from salver_server.errors import Broken
from salver_server.files import store as files
from salver_server.ids import ChatId, DeliveryId, SessionId
from salver_server.kit.failpoint import failpoint
from salver_server.messages import LONGEST_TEXT, HandoverState
from salver_server.sessions import contexts, queue, store
from salver_server.sessions.outgoing import Taken
from salver_server.sessions.reading import Row

OUTCOMES: dict[str, HandoverState] = {
    "answered": "answered",
    "failed": "failed",
    "stopped": "stopped",
    "cancelled": "cancelled",
    "seen": "done",
    "done": "done",
}
"""Outcome of an acknowledgement to the state of its message."""
LONGEST_REASON = 2000
LARGEST_NUMBER = 2**63 - 1
"""The largest that SQLite knows; JSON knows no end."""
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
"""A lone surrogate: JSON can hold one, text in UTF-8 cannot."""

NOTHING: Mapping[int, Taken] = {}


@dataclass(slots=True)
class News:
    """What one page brought, for those who act on it."""

    session: SessionId
    rows: int = 0
    closed: bool = False
    released: bool = False
    """A message that was held is to be handed over."""
    chats: set[ChatId] = field(default_factory=set[ChatId])
    """Chats that something is to be delivered to."""


def take(
    conn: Connection,
    session: store.Session,
    rows: Sequence[Row],
    now: Stamp,
    taken: Mapping[int, Taken] = NOTHING,
) -> News:
    """Apply rows and advance the read position; raises `Broken` at the first that is not right.

    `taken` is what came of the files of those that bring some, by their number.
    """
    # The position may have moved since the page was read; what is read is read once.
    current = store.session(conn, session.id)
    assert current is not None
    if current.epoch != session.epoch:
        return News(session.id)
    news = News(session.id)
    expected = current.read_seq + 1
    for row in rows:
        if row.seq < expected:
            continue
        if row.seq != expected:
            raise Broken(f"row {expected} is missing")
        _apply(conn, current, row, now, news, taken.get(row.seq))
        expected += 1
    store.advance(conn, session.id, expected - 1, now)
    news.released = news.closed and queue.release_next(conn, session.id, now)
    failpoint("outbox.in-advance")
    return news


def _apply(
    conn: Connection,
    session: store.Session,
    row: Row,
    now: Stamp,
    news: News,
    taken: Taken | None,
) -> None:
    news.rows += 1
    match row.kind:
        case "claim":
            store.claim(
                conn, session.id, _message(conn, session.id, row, now), turn=row.turn, now=now
            )
        case "release":
            store.release(conn, session.id, _message(conn, session.id, row, now), now)
        case "ack":
            _acknowledge(conn, session, row, now, news)
        case "reply":
            answers = [_handed(conn, session.id, seq, now) for seq in _numbers(row, "answers")]
            _deliver(conn, session, row, now, news, answers)
            news.closed = True
        case "send":
            _deliver(conn, session, row, now, news, [], taken)
        case "continuation":
            provider, messages = _text(row, "provider", 100), row.body.get("messages")
            reset = row.body.get("reset", False)
            if not isinstance(messages, list) or not isinstance(reset, bool):
                raise Broken(f"row {row.seq} has no list of messages")
            store.keep_continuation(
                conn,
                session.id,
                epoch=session.epoch,
                seq=row.seq,
                provider=provider,
                body=json.dumps(messages),
                reset=reset,
            )
        case "context":
            context = contexts.read(row.body, turn=row.turn, now=now)
            for seq in context.messages:
                _handed(conn, session.id, seq, now)
            contexts.keep(conn, session.id, context, epoch=session.epoch, seq=row.seq)
        case "tool":
            pass  # for the transcript, and for a retried turn
        case _:
            raise Broken(f"row {row.seq} is of an unknown kind")


def _acknowledge(
    conn: Connection, session: store.Session, row: Row, now: Stamp, news: News
) -> None:
    seq = _message(conn, session.id, row, now)
    state = OUTCOMES.get(str(row.body.get("outcome")))
    if state is None:
        raise Broken(f"row {row.seq} has an unknown outcome")
    reason = _text(row, "reason", LONGEST_REASON)
    owed = store.settle(conn, session.id, seq, state=state, reason=reason, now=now)
    news.closed = True
    if owed and state == "failed" and store.kind_of(conn, session.id, seq, now) == "message":
        tell_failure(conn, session, row.seq, [seq], reason, now, news.chats)


def tell_failure(
    conn: Connection,
    session: store.Session,
    seq: int,
    failed: list[int],
    reason: str,
    now: Stamp,
    chats: set[ChatId],
) -> None:
    """A person is told that these messages failed, in the chat they came from.

    `seq` is the outbound row that says so, or the negative of a message's own where the server says it.
    """
    say(conn, session, seq, "failure", reason, answers=failed, now=now, chats=chats)
    names = ", ".join(str(number) for number in failed)
    store.note(conn, session.id, f"Message {names} could not be answered. {reason}", now)


def say(
    conn: Connection,
    session: store.Session,
    seq: int,
    kind: str,
    text: str,
    *,
    answers: list[int],
    now: Stamp,
    chats: set[ChatId],
    id_: DeliveryId | None = None,
) -> DeliveryId | None:
    """Something is owed to a chat, which is added to `chats`; `seq` as for `tell_failure`."""
    delivery = store.owe_delivery(
        conn,
        session.id,
        id_=id_,
        epoch=session.epoch,
        seq=seq,
        kind=kind,
        text=text,
        answers=answers,
        now=now,
    )
    if delivery is not None:
        chats.add(_chat_of(conn, delivery))
    return delivery


def _deliver(
    conn: Connection,
    session: store.Session,
    row: Row,
    now: Stamp,
    news: News,
    answers: list[int],
    taken: Taken | None = None,
) -> None:
    text = _text(row, "text", LONGEST_TEXT * 5)
    if taken is not None and taken.refused:
        text = "\n".join([*([text] if text else []), *(f"({why})" for why in taken.refused)])
        store.note(conn, session.id, " ".join(taken.refused), now)
    id_ = taken.delivery if taken else None
    delivery = say(
        conn, session, row.seq, row.kind, text, id_=id_, answers=answers, now=now, chats=news.chats
    )
    if delivery is not None:
        files.attach(conn, taken.files if taken else (), delivery=delivery)


def _chat_of(conn: Connection, delivery: str) -> ChatId:
    return conn.execute("SELECT chat FROM deliveries WHERE id = ?", (delivery,)).fetchone()[0]


def _message(conn: Connection, session: SessionId, row: Row, now: Stamp) -> int:
    if not isinstance(row.message, int):
        raise Broken(f"row {row.seq} names no message")
    return _handed(conn, session, row.message, now)


def _handed(conn: Connection, session: SessionId, seq: int, now: Stamp) -> int:
    if not 0 < seq <= LARGEST_NUMBER or store.kind_of(conn, session, seq, now) is None:
        raise Broken(f"message {seq} was never handed over")
    return seq


def _text(row: Row, name: str, longest: int) -> str:
    value = row.body.get(name)
    if not isinstance(value, str) or HALF_A_CHARACTER.search(value):
        raise Broken(f"row {row.seq} has no text {name!r}")
    return value if len(value) <= longest else value[:longest] + " […]"


def _numbers(row: Row, name: str) -> list[int]:
    value = row.body.get(name)
    if not isinstance(value, list) or not all(type(item) is int for item in value):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] being checked
        raise Broken(f"row {row.seq} has no list of numbers {name!r}")
    numbers = cast(list[int], value)
    if len(set(numbers)) < len(numbers):  # each costs a query
        raise Broken(f"row {row.seq} names a message twice")
    return numbers
