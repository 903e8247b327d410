"""After a start: the sandboxes that outlived the last server are adopted, buried or ended.

Runs before anything is started, so that no session ever gets a second owner. Where neither life nor death
is certain the session waits, visibly, and is asked about again.
"""

import logging

from salver_server.errors import Broken, SalverError
from salver_server.ids import SessionId
from salver_server.runtimes import Exit, Mark, Sandbox
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
        """Decide about every sandbox on record, and about every stray one."""
        rows = await self._house.database.read(store.sandboxes)
        generations = {row.session: row.generation for row in rows}
        found: dict[SessionId, Mark] = {}
        for runtime in self._house.runtimes.values():
            for mark in await runtime.list():
                if generations.get(mark.session) == mark.generation:
                    found[mark.session] = mark
                else:
                    await self._end_stray(mark)
        for row in rows:
            await self._decide(row, found.get(row.session))

    async def go_on(self) -> None:
        """Ask again about what was uncertain; runs until cancelled."""
        while True:
            await self._house.clock.sleep(ASK_AGAIN)
            rows, self._uncertain = self._uncertain, []
            for row in rows:
                await self._decide(row, None)

    async def _end_stray(self, mark: Mark) -> None:
        sandbox = await self._house.runtimes[mark.runtime].adopt(mark)
        if sandbox is not None:
            logger.warning(
                "stray sandbox ended",
                extra={"session": mark.session, "generation": mark.generation},
            )
            await sandbox.kill()

    async def _decide(self, row: store.SandboxRow, mark: Mark | None) -> None:
        session = await self._house.database.read(lambda conn: store.session(conn, row.session))
        assert session is not None
        try:
            sandbox = await self._alive(row, mark)
        except Broken as exc:
            self._uncertain.append(row)
            await self._keeper.doubt(
                row.session, f"Whether its last sandbox still lives is not certain: {exc}"
            )
            return
        detail = "It ended while Salver was not running."
        if sandbox is not None:
            try:
                await self._keeper.take_over(session, row, sandbox)
            except SalverError as exc:
                # Its agent or its provider is no longer there: it cannot be cared for.
                await sandbox.kill()
                detail = str(exc)
            else:
                return
        self._keeper.bury_soon(
            End(
                session=session,
                runtime=row.runtime,
                exit=Exit(cause="lost", code=None, detail=detail),
                # A server that died before its sandbox existed says nothing about any message.
                blameless=sandbox is not None or row.handle is None,
            )
        )

    async def _alive(self, row: store.SandboxRow, mark: Mark | None) -> Sandbox | None:
        if mark is None and row.handle is not None:
            mark = Mark(
                runtime=row.runtime,
                session=row.session,
                generation=row.generation,
                handle=row.handle,
            )
        if mark is None:
            return None
        runtime = self._house.runtimes.get(row.runtime)
        if runtime is None:
            raise Broken(
                f"it was started by the runtime '{row.runtime}', which this Salver does not have"
            )
        return await runtime.adopt(mark)
