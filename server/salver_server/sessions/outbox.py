"""What a runner wrote becomes ours: one page of rows, one transaction of salver.db.

Nothing in these rows is trusted: numbers must be of messages that were handed over, shapes must be
right, and a row is known by session, epoch and sequence, never by a name that the sandbox chose.
"""

import asyncio
import json
import logging
import re
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import cast

from salver_server.clock import Clock, Stamp, stamp
from salver_server.errors import Broken, Transient
from salver_server.ids import ChatId, SessionId
from salver_server.kit.failpoint import failpoint
from salver_server.kit.pace import Pace
from salver_server.kit.rounds import Rounds
from salver_server.messages import LONGEST_TEXT, HandoverState
from salver_server.sessions import store
from salver_server.sessions.folders import folders, outbound
from salver_server.sessions.reading import Page, Reading, Row
from salver_server.sessions.rest import Look, Rest
from salver_server.settings import Places
from salver_server.store import Database

logger = logging.getLogger(__name__)

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
EMPTY_LOOKS_A_SECOND = 50
"""A session that rings more often without new rows is looked at more slowly."""
ROWS_A_SECOND = 2000
"""A runner writes some fifty at most; taking more would keep the others from salver.db."""
CHARACTERS_A_SECOND = 16 * 1024 * 1024
"""Of the rows' bodies: reading them takes time from everyone."""
HELD_UP = 10.0
"""Seconds for which a file may stay locked or torn; a commit takes some milliseconds."""
LONGEST_PAUSE = 0.5
"""Seconds between two looks at a file that has been held up for long."""


@dataclass(slots=True)
class News:
    """What one page brought, for those who act on it."""

    session: SessionId
    rows: int = 0
    claims: int = 0
    closed: bool = False
    chats: set[ChatId] = field(default_factory=set[ChatId])
    """Chats that something is to be delivered to."""


class Paces:
    """How fast one session is looked at, whatever it rings and writes."""

    def __init__(self) -> None:
        self.looks = Pace(EMPTY_LOOKS_A_SECOND)
        self.rows = Pace(ROWS_A_SECOND)
        self.characters = Pace(CHARACTERS_A_SECOND)
        self.held_up_since: float | None = None


class Outbox:
    def __init__(
        self,
        *,
        database: Database,
        reading: Reading,
        places: Places,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        brought: Callable[[News], None],
        distrusted: Callable[[SessionId, str], None],
    ) -> None:
        """`brought` is told of every page that had rows; `distrusted` of a file that no runner of ours wrote."""
        self._database = database
        self._reading = reading
        self._places = places
        self._clock = clock
        self._brought = brought
        self._distrusted = distrusted
        self._paces: dict[SessionId, Paces] = {}
        self._files: dict[SessionId, tuple[int, tuple[int, int]]] = {}
        self._rest = Rest()
        self._rounds = Rounds("outbox.look", self._look, tasks)

    def ask(self, session: SessionId) -> None:
        """Look at this session's outbound.db, soon."""
        self._rounds.ask(session)

    def sweep(self, sessions: Iterable[SessionId]) -> None:
        """Look at each of them whose file does not rest."""
        for session in sessions:
            if not self._rest.holds(session, self._before(session)):
                self.ask(session)

    def _before(self, session: SessionId) -> Look:
        return self._rest.before(session, outbound(self._places, session), self._clock.elapsed())

    async def drain(self, session: SessionId) -> bool:
        """Read everything that is there, and say whether there was anything; raises what reading raises."""
        found, paces = False, self._paces.setdefault(session, Paces())
        while (page := await self._page(session)) is not None:
            found = True
            await paces.rows.keep(len(page.rows))
            await paces.characters.keep(page.size)
            if not page.more:
                break
        return found

    async def _look(self, session: SessionId) -> None:
        # Transient and Torn go on to the rounds: a live writer is done in a moment, and a dead one's
        # journal is healed by whoever learns of its death.
        paces = self._paces.setdefault(session, Paces())
        look = self._before(session)
        try:
            if self._rest.holds(session, look) or not await self.drain(session):
                await paces.looks.keep()
            self._rest.keep(session, look)
            paces.held_up_since = None
        except Transient as exc:
            await paces.looks.keep()
            self._hold_up(session, paces, exc)
        except Broken as exc:
            self._distrusted(session, str(exc))

    def _hold_up(self, session: SessionId, paces: Paces, exc: Transient) -> None:
        """Look again, ever later; a file that nobody can read for long is not a runner's of ours."""
        if self._paces.get(session) is not paces:
            # The sandbox was buried during this look: what held it up is not held against the next one.
            raise exc
        now = self._clock.elapsed()
        since = paces.held_up_since = paces.held_up_since or now
        if now - since < HELD_UP:
            pause = min((now - since) / 10, LONGEST_PAUSE)
            raise Transient(str(exc), retry_after=max(exc.retry_after or 0, pause)) from exc
        self._distrusted(session, f"{exc}, for {HELD_UP:g} s")

    async def _page(self, session: SessionId) -> Page | None:
        row = self._session(session)
        if row is None:
            return None
        place = folders(self._places, session, row.agent)
        try:
            page = await self._reading.read(place.outbox, epoch=row.epoch, after=row.read_seq)
            self._same_file(row, page)
        except Broken as exc:
            if self._is_outdated(row):
                raise Transient(
                    "its session has got another runner meanwhile", retry_after=0
                ) from exc
            raise
        if not page.rows:
            return None
        now = stamp(self._clock.now())
        failpoint("outbox.before-advance")
        try:
            news = await self._database.write(lambda conn: take(conn, row, page.rows, now))
        except (sqlite3.IntegrityError, sqlite3.DataError, RecursionError, ValueError) as exc:
            # Whatever it is, tried again it would be the same.
            logger.exception("rows cannot be kept", extra={"session": session})
            raise Broken("its rows cannot be kept") from exc
        failpoint("outbox.after-advance")
        self._brought(news)
        return page

    def _session(self, session: SessionId) -> store.Session | None:
        return self._database.glance(lambda conn: store.session(conn, session))

    def _is_outdated(self, row: store.Session) -> bool:
        now = self._session(row.id)
        return now is None or (now.epoch, now.generation) != (row.epoch, row.generation)

    def _same_file(self, row: store.Session, page: Page) -> None:
        """Raise `Broken` for a file that replaced the one seen before under the same generation."""
        if page.found == "absent":
            if row.read_seq:
                raise Broken("outbound.db is gone")
            return
        if page.generation > row.generation:
            raise Broken(f"outbound.db names an owner of the future, generation {page.generation}")
        known = self._files.get(row.id)
        if known is not None and known[0] == row.epoch and known[1] != page.file:
            raise Broken("outbound.db was replaced by another file")
        self._files[row.id] = (row.epoch, page.file)

    def forget(self, session: SessionId) -> None:
        """The sandbox is gone; what is in out/ may be moved, healed or copied by us."""
        self._files.pop(session, None)
        self._paces.pop(session, None)
        self._rest.forget(session)


def take(conn: Connection, session: store.Session, rows: tuple[Row, ...], now: Stamp) -> News:
    """Apply rows and advance the read position; raises `Broken` at the first that is not right."""
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
        _apply(conn, current, row, now, news)
        expected += 1
    store.advance(conn, session.id, expected - 1, now)
    failpoint("outbox.in-advance")
    return news


def _apply(conn: Connection, session: store.Session, row: Row, now: Stamp, news: News) -> None:
    news.rows += 1
    match row.kind:
        case "claim":
            store.claim(
                conn, session.id, _message(conn, session.id, row, now), turn=row.turn, now=now
            )
            news.claims += 1
        case "release":
            store.release(conn, session.id, _message(conn, session.id, row, now), now)
        case "ack":
            _acknowledge(conn, session, row, now, news)
        case "reply":
            answers = [_handed(conn, session.id, seq, now) for seq in _numbers(row, "answers")]
            _deliver(conn, session, row, now, news, kind="reply", answers=answers)
            news.closed = True
        case "send":
            _deliver(conn, session, row, now, news, kind="send", answers=[])
        case "continuation":
            provider, messages = _text(row, "provider", 100), row.body.get("messages")
            if not isinstance(messages, list):
                raise Broken(f"row {row.seq} has no list of messages")
            store.keep_continuation(
                conn,
                session.id,
                epoch=session.epoch,
                seq=row.seq,
                provider=provider,
                body=json.dumps(messages),
            )
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
    delivery = store.owe_delivery(
        conn,
        session.id,
        epoch=session.epoch,
        seq=seq,
        kind="failure",
        text=reason,
        answers=failed,
        now=now,
    )
    if delivery is not None:
        chats.add(_chat_of(conn, delivery))
    names = ", ".join(str(number) for number in failed)
    store.note(conn, session.id, f"Message {names} could not be answered. {reason}", now)


def _deliver(
    conn: Connection,
    session: store.Session,
    row: Row,
    now: Stamp,
    news: News,
    *,
    kind: str,
    answers: list[int],
) -> None:
    text = _text(row, "text", LONGEST_TEXT * 5)
    delivery = store.owe_delivery(
        conn,
        session.id,
        epoch=session.epoch,
        seq=row.seq,
        kind=kind,
        text=text,
        answers=answers,
        now=now,
    )
    if delivery is not None:
        news.chats.add(_chat_of(conn, delivery))


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
