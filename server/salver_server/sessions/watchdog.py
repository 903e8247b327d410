"""Ends what is idle, what shows no progress, and what stands in the way of its own messages."""

import logging

from salver_server.ids import SessionId
from salver_server.sessions import store
from salver_server.sessions.house import House
from salver_server.sessions.inbox import Inbox
from salver_server.sessions.keeper import Keeper
from salver_server.sessions.live import Live

logger = logging.getLogger(__name__)

LONGEST_STEP = 5.0
"""Seconds between two rounds at most; they only look at memory unless something is overdue."""
PRESSURE = 10.0
"""Seconds from one step against a turn without progress to the next, at most."""
HELD_UP = 10.0
"""Seconds for which a sandbox may keep inbound.db locked before it is ended."""
OBEDIENCE = 10.0
"""Seconds that a runner has for an order of a person's; it needs less than one."""
FAREWELL = 2.0
"""Seconds that a runner with nothing to do has for leaving when it was asked to."""


class Watchdog:
    def __init__(self, house: House, keeper: Keeper, inbox: Inbox) -> None:
        self._house = house
        self._keeper = keeper
        self._inbox = inbox
        self._since: dict[tuple[SessionId, int, str], float] = {}

    async def run(self) -> None:
        """Look at every live session again and again; runs until cancelled."""
        settings = self._house.settings
        step = min(LONGEST_STEP, settings.idle / 4, settings.stall / 4)
        while True:
            await self._house.clock.sleep(step)
            alive = self._keeper.all_live()
            ordered = await self._house.database.read(store.sessions_ordered) if alive else []
            for live in alive:
                self._judge(live, ordered=live.session.id in ordered)
            there = {(live.session.id, live.generation) for live in alive}
            self._since = {key: at for key, at in self._since.items() if key[:2] in there}

    def _judge(self, live: Live, *, ordered: bool) -> None:
        session, now = live.session.id, self._house.clock.elapsed()
        if live.verdict:
            self._keeper.insist(live)
        elif self._lasts(live, "locked", so=self._inbox.failures(session) > 0) >= HELD_UP:
            self._keeper.end(live, f"It kept inbound.db locked for {HELD_UP:g} s.")
        elif self._lasts(live, "ordered", so=ordered) >= OBEDIENCE:
            self._keeper.end(live, f"It obeyed no order for {OBEDIENCE:g} s.")
        elif self._lasts(live, "leaving", so=live.retiring and not self._owes(live)) >= FAREWELL:
            self._keeper.end(live, "It did not leave when it was asked to.", blameless=True)
        elif now >= live.patient_until and self._owes(live):
            self._press(live)
        elif now - live.used >= self._house.settings.idle and not self._owes(live):
            self._keeper.retire(live)

    def _lasts(self, live: Live, what: str, *, so: bool) -> float:
        """For how many seconds this has been so, as far as was looked."""
        key, now = (live.session.id, live.generation, what), self._house.clock.elapsed()
        if not so:
            self._since.pop(key, None)
            return 0.0
        return now - self._since.setdefault(key, now)

    def _owes(self, live: Live) -> bool:
        session = live.session.id
        return self._house.database.glance(lambda conn: store.owes(conn, session))

    def _press(self, live: Live) -> None:
        """A turn without progress: asked, then told to end, then killed."""
        live.nudges += 1
        stall = self._house.settings.stall
        live.patient_until = self._house.clock.elapsed() + min(stall / 2, PRESSURE)
        logger.warning("no progress", extra={"session": live.session.id, "nudges": live.nudges})
        match live.nudges:
            case 1:
                live.line.ring()
                live.line.ping()
            case 2:
                live.line.cancel()
            case _:
                live.stalled = True
                self._keeper.end(live, f"It showed no progress for {stall:g} s.")
