"""Looking at what runners write: one page at a time, at a bearable pace, from the file to salver.db.

Whoever looks is only ever told to; the read position in salver.db says what is new.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

from salver_server.clock import Clock, stamp
from salver_server.errors import Broken, Transient
from salver_server.ids import SessionId
from salver_server.kit.failpoint import failpoint
from salver_server.kit.pace import Pace
from salver_server.kit.rounds import Rounds
from salver_server.sessions import store
from salver_server.sessions.folders import folders, outbound
from salver_server.sessions.outgoing import Outgoing, Taken, brings
from salver_server.sessions.reading import Page, Reading, Row
from salver_server.sessions.rest import Look, Rest
from salver_server.sessions.take import News, take
from salver_server.settings import Places
from salver_server.store import Database

logger = logging.getLogger(__name__)

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
        outgoing: Outgoing,
        places: Places,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        brought: Callable[[News], None],
        distrusted: Callable[[SessionId, str], None],
    ) -> None:
        """`brought` is told of every page that had rows; `distrusted` of a file that no runner of ours wrote."""
        self._database = database
        self._reading = reading
        self._outgoing = outgoing
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
        for rows in _parts(page.rows):
            await self._take(row, rows, await self._outgoing.take(row, place.outbox, rows))
        return page

    async def _take(
        self, row: store.Session, rows: Sequence[Row], taken: Mapping[int, Taken]
    ) -> None:
        now = stamp(self._clock.now())
        failpoint("outbox.before-advance")
        try:
            news = await self._database.write(lambda conn: take(conn, row, rows, now, taken))
        except (sqlite3.IntegrityError, sqlite3.DataError, RecursionError, ValueError) as exc:
            # Whatever it is, tried again it would be the same.
            logger.exception("rows cannot be kept", extra={"session": row.id})
            await self._outgoing.settle(taken)
            raise Broken("its rows cannot be kept") from exc
        except Exception:  # not a cancellation: then they may still be kept
            await self._outgoing.settle(taken)
            raise
        failpoint("outbox.after-advance")
        await self._outgoing.settle(taken)
        self._brought(news)

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


def _parts(rows: Sequence[Row]) -> Generator[Sequence[Row]]:
    """Rows to be taken together: files are copied for one row at a time, and delay none before it."""
    first = 0
    for number, row in enumerate(rows):
        if brings(row):
            if number > first:
                yield rows[first:number]
            yield rows[number : number + 1]
            first = number + 1
    if first < len(rows):
        yield rows[first:]
