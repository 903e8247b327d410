"""The end of a sandbox: what it wrote is read to the last row, what it left undone waits again or fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from sqlite3 import Connection

from salver_server.clock import Stamp, stamp
from salver_server.errors import Broken, SalverError, Transient
from salver_server.ids import ChatId, SessionId, new_epoch
from salver_server.kit.failpoint import failpoint
from salver_server.runtimes import Exit, Launch
from salver_server.sessions import queue, store
from salver_server.sessions.folders import folders, make, set_aside
from salver_server.sessions.house import House
from salver_server.sessions.outbox import Outbox
from salver_server.sessions.reading import Torn
from salver_server.sessions.take import say, tell_failure

logger = logging.getLogger(__name__)

HEALING = 10.0
"""Seconds that a throw-away sandbox may take to roll a journal back."""
MOST_HEALINGS = 2
"""Throw-away sandboxes for one burial; a journal that outlasts them cannot be rolled back."""
RETRY_HEALING = 15.0
"""Seconds until healing that could not begin is tried again."""
PAUSE = 0.05
"""Seconds until the next look at a file that cannot be read yet."""
MOST_ATTEMPTS = 3
"""Turns that a message may cut off before it fails alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    session: store.Session
    runtime: str
    """Name of the runtime that it was started by."""
    exit: Exit
    blameless: bool
    """Ended for reasons of our own."""
    stalled: bool = False
    """Ended because it showed no progress: its messages get one more try, not two."""
    verdict: str = ""
    """Why we ended it, for people; empty if we did not."""
    distrusted: str = ""
    """Why its outbound.db is not read any more; empty while it is."""


class Burial:
    def __init__(
        self,
        house: House,
        outbox: Outbox,
        *,
        trouble: Callable[[SessionId, str], Awaitable[None]],
        owed: Callable[[ChatId], None],
    ) -> None:
        self._house = house
        self._outbox = outbox
        self._trouble = trouble
        self._owed = owed

    async def __call__(self, end: End) -> None:
        """Bury a sandbox whose death is confirmed; when this returns, the session may be started anew."""
        session = end.session
        failpoint("keeper.before-burial")
        distrusted = end.distrusted or await self._read_to_the_end(end)
        self._outbox.forget(session.id)
        if distrusted:
            await self._put_aside(session, distrusted)
        now = stamp(self._house.clock.now())
        chats = await self._house.database.write(lambda conn: settle(conn, end, now))
        failpoint("keeper.after-burial")
        for chat in chats:
            self._owed(chat)

    async def _read_to_the_end(self, end: End) -> str:
        """Read every row that is left; returns why the file is not trusted, empty if it is."""
        healings = 0
        while True:
            try:
                await self._outbox.drain(end.session.id)
            except Torn:
                if healings == MOST_HEALINGS:
                    return "its journal cannot be rolled back"
                try:
                    healings += await self._heal(end.session, end.runtime)
                except Broken as exc:
                    return str(exc)
            except Transient as exc:
                await self._house.clock.sleep(exc.retry_after or PAUSE)
            except Broken as exc:
                return str(exc)
            else:
                return ""

    async def _put_aside(self, session: store.Session, why: str) -> None:
        house = self._house
        place, epoch = folders(house.places, session.id, session.agent), new_epoch()
        # The row first: a crash between the two finds the old file under a new epoch, and distrusts it again.
        await house.database.write(lambda conn: store.new_file(conn, session.id, epoch))
        if place.outbox.exists():
            aside = await asyncio.to_thread(set_aside, place.outbox)
            logger.warning(
                "outbound.db put aside", extra={"session": session.id, "why": why, "folder": aside}
            )

    async def _heal(self, session: store.Session, runtime: str) -> bool:
        """Roll the dead runner's journal back in a sandbox that does nothing else; false if that could not begin."""
        house = self._house
        try:
            place = folders(house.places, session.id, session.agent)
            await asyncio.to_thread(make, place, house.identity)
            sandbox = await house.runtimes[runtime].start(
                Launch(
                    install=house.install,
                    session=session.id,
                    generation=session.generation,
                    task="heal",
                    inbox=place.inbox,
                    outbox=place.outbox,
                    work=place.work,
                    home=place.home,
                    line=place.line,
                    log=place.log,
                )
            )
        except SalverError as exc:
            await self._trouble(session.id, str(exc))
            await house.clock.sleep(RETRY_HEALING)
            return False
        try:
            async with asyncio.timeout(HEALING):
                await sandbox.ended()
        except TimeoutError:
            await sandbox.kill()
            raise Broken("rolling its journal back took too long") from None
        return True


def settle(conn: Connection, end: End, now: Stamp) -> set[ChatId]:
    """Forget the sandbox, let its messages wait again, fail those that have had their attempts.

    Returns the chats in which somebody is told of a failure.
    """
    session = end.session.id
    cut_off = store.running(conn, session)
    store.requeue(conn, session, blame=not end.blameless, now=now)
    store.forget_sandbox(conn, session)
    # It is over; what still troubles the session is said by the next start.
    store.say_trouble(conn, session, "")
    # Nobody else can answer them now, and what they end must not open another turn.
    store.obey_orders(conn, session, now)
    chats = set[ChatId]() if end.blameless else _blame(conn, end, cut_off, now)
    queue.release_next(conn, session, now)
    return chats


def _blame(conn: Connection, end: End, cut_off: list[store.Handover], now: Stamp) -> set[ChatId]:
    session = end.session.id
    if end.stalled:
        for row in cut_off:
            store.set_attempts(conn, session, row.seq, at_least=MOST_ATTEMPTS - 1)
    if not cut_off and not (end.exit.cause == "ended" and end.exit.code == 0):
        _count_dead_start(conn, session)
    chats: set[ChatId] = set()
    for row in store.pending(conn, session):
        if row.attempts >= MOST_ATTEMPTS:
            last = end.verdict or end.exit.detail
            reason = (
                f"The sandbox ended {row.attempts} times while it worked on this message; it is not tried again. "
                f"The last time: {last} Send it again, perhaps in other words."
            )
            store.settle(conn, session, row.seq, state="failed", reason=reason, now=now)
            if row.kind == "message":
                tell_failure(conn, end.session, -row.seq, [row.seq], reason, now, chats)
            elif row.kind == "compact":
                text = f"{NOT_COMPACTED} {last}"
                say(conn, end.session, -row.seq, "send", text, answers=[], now=now, chats=chats)
    return chats


NOT_COMPACTED = (
    f"The sandbox ended {MOST_ATTEMPTS} times while it compacted the conversation; it stays as it is."
    " `/clear` starts afresh. The last time:"
)


def _count_dead_start(conn: Connection, session: SessionId) -> None:
    """A runner that died before it claimed anything counts against the message that it was woken for."""
    for row in store.pending(conn, session):
        if row.kind == "message":
            store.set_attempts(conn, session, row.seq, at_least=row.attempts + 1)
            return
