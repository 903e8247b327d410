"""After a start: the sandboxes that outlived the last server are adopted, buried or ended.

Runs before anything is started, so that no session ever gets a second owner. A sandbox is known by what
salver.db has on record, never by what it says of itself: its label lies in memory that it can write to.
Where neither life nor death is certain the session waits, visibly, and is asked about again.
"""

import logging
from typing import Literal

from salver_server.errors import Broken, SalverError
from salver_server.runtimes import Exit, Mark, Runtime, Sandbox
from salver_server.sessions import store
from salver_server.sessions.burial import End
from salver_server.sessions.house import House
from salver_server.sessions.keeper import Keeper

logger = logging.getLogger(__name__)

ASK_AGAIN = 5.0
"""Seconds until an uncertain sandbox is asked about again."""


class Adoption:
    def __init__(self, house: House, keeper: Keeper) -> None:
        self._house = house
        self._keeper = keeper
        self._uncertain: list[store.SandboxRow] = []

    async def begin(self) -> None:
        """Decide about every sandbox on record, and end every other one."""
        rows = await self._house.database.read(store.sandboxes)
        ends: list[End] = []
        # Those with a handle first, so that the runtimes know them for what they are.
        for row in sorted(rows, key=lambda row: row.handle is None):
            match await self._decide(row):
                case "adopted":
                    pass
                case "uncertain":
                    self._uncertain.append(row)
                case end:
                    ends.append(end)
        uncertain = {row.session for row in self._uncertain}
        for runtime in self._house.runtimes.values():
            for mark in await self._unknown(runtime):
                if mark.session not in uncertain:
                    await self._end_stray(runtime, mark)
        # Not before: a sandbox that heals a journal is on no record, either.
        for end in ends:
            self._keeper.bury_soon(end)

    async def go_on(self) -> None:
        """Ask again about what was uncertain; runs until cancelled."""
        while True:
            await self._house.clock.sleep(ASK_AGAIN)
            for row in list(self._uncertain):
                found = await self._decide(row)
                if found != "uncertain":
                    self._uncertain.remove(row)
                if isinstance(found, End):
                    self._keeper.bury_soon(found)

    async def _unknown(self, runtime: Runtime) -> list[Mark]:
        """Sandboxes that nobody cares for."""
        known = [live.sandbox.mark for live in self._keeper.all_live()]
        return [mark for mark in await runtime.list() if mark not in known]

    async def _end_stray(self, runtime: Runtime, mark: Mark) -> None:
        try:
            await self._end(runtime, mark)
        except Broken:
            logger.exception("stray sandbox does not die", extra={"session": mark.session})

    async def _end(self, runtime: Runtime, mark: Mark) -> None:
        """Raises `Broken` when it does not die."""
        sandbox = await runtime.adopt(mark)
        if sandbox is not None:
            logger.warning(
                "stray sandbox ended",
                extra={"session": mark.session, "generation": mark.generation},
            )
            await sandbox.kill()

    async def _decide(self, row: store.SandboxRow) -> End | Literal["adopted", "uncertain"]:
        """What there is to bury, where nothing is left to be adopted or doubted."""
        session = await self._house.database.read(lambda conn: store.session(conn, row.session))
        assert session is not None
        detail = "It ended while Salver was not running."
        try:
            sandbox = await self._alive(row)
            if sandbox is not None:
                try:
                    await self._keeper.take_over(session, row, sandbox)
                except SalverError as exc:
                    # Its agent or its provider is no longer there: it cannot be cared for.
                    detail = str(exc)
                    await sandbox.kill()
                else:
                    return "adopted"
        except Broken as exc:
            await self._keeper.doubt(
                row.session, f"Whether its last sandbox still lives is not certain: {exc}"
            )
            return "uncertain"
        return End(
            session=session,
            runtime=row.runtime,
            exit=Exit(cause="lost", code=None, detail=detail),
            # A server that died before its sandbox existed says nothing about any message.
            blameless=sandbox is not None or row.handle is None,
        )

    async def _alive(self, row: store.SandboxRow) -> Sandbox | None:
        """The sandbox of this record, None when its death is certain; raises `Broken` when neither is."""
        runtime = self._house.runtimes.get(row.runtime)
        if runtime is None:
            raise Broken(
                f"it was started by the runtime '{row.runtime}', which this Salver does not have"
            )
        if row.handle is not None:
            mark = Mark(
                runtime=row.runtime,
                session=row.session,
                generation=row.generation,
                handle=row.handle,
            )
            return await runtime.adopt(mark)
        # Nothing proves which one it is, if it came to be at all: it is ended, and nobody is to blame.
        for mark in await self._unknown(runtime):
            if (mark.session, mark.generation) == (row.session, row.generation):
                await self._end(runtime, mark)
        return None
