"""Ends what is idle, what shows no progress, and what stands in the way of its own messages."""

import logging

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
HAND_OVER_FAILURES = 12
"""Failed hand-overs in a row after which the sandbox that holds the lock is ended: about 30 s."""


class Watchdog:
    def __init__(self, house: House, keeper: Keeper, inbox: Inbox) -> None:
        self._house = house
        self._keeper = keeper
        self._inbox = inbox

    async def run(self) -> None:
        """Look at every live session again and again; runs until cancelled."""
        settings = self._house.settings
        step = min(LONGEST_STEP, settings.idle / 4, settings.stall / 4)
        while True:
            await self._house.clock.sleep(step)
            for live in self._keeper.all_live():
                await self._judge(live)

    async def _judge(self, live: Live) -> None:
        session, now = live.session.id, self._house.clock.elapsed()
        if live.verdict:
            self._keeper.insist(live)
        elif self._inbox.failures(session) >= HAND_OVER_FAILURES:
            self._keeper.end(live, "It kept inbound.db locked.")
        elif now >= live.patient_until and await self._owes(live):
            self._press(live)
        elif now - live.used >= self._house.settings.idle and not await self._owes(live):
            self._keeper.retire(live)

    async def _owes(self, live: Live) -> bool:
        session = live.session.id
        rows = await self._house.database.read(lambda conn: store.pending(conn, session))
        return any(row.wakes for row in rows)

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
