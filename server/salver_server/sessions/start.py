"""One start: a generation, a launch record, an entrance and a sandbox, or nothing of it is left."""

import asyncio
import hashlib
import secrets
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from salver_server.accounts import Choice
from salver_server.agents import Standing
from salver_server.clock import stamp
from salver_server.errors import Broken, NeedsUser
from salver_server.ids import SessionId
from salver_server.kit.failpoint import failpoint
from salver_server.runtimes import Exit, Launch, Sandbox
from salver_server.sessions import launch, store
from salver_server.sessions.burial import End
from salver_server.sessions.entrance import Entrance
from salver_server.sessions.folders import folders
from salver_server.sessions.house import House
from salver_server.sessions.inbox import Inbox
from salver_server.sessions.line import Heard


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is known before anything is done."""

    session: store.Session
    standing: Standing
    choice: Choice
    runtime: str
    packs: Mapping[str, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A sandbox that runs, and what it was started with."""

    session: store.Session
    standing: Standing
    generation: int
    version: str
    """Of what it was told, and of what its turns are run with."""
    entrance: Entrance
    sandbox: Sandbox


class Starter:
    def __init__(
        self,
        house: House,
        *,
        inbox: Inbox,
        heard: Heard,
        doubt: Callable[[SessionId, str], Awaitable[None]],
        bury_soon: Callable[[End], None],
    ) -> None:
        """Told when something is left of a start that failed: `doubt` of a sandbox that does not die,
        `bury_soon` of a record of one that never was.
        """
        self._house = house
        self._inbox = inbox
        self._heard = heard
        self._doubt = doubt
        self._bury_soon = bury_soon

    async def plan(self, session: SessionId, say: Callable[[str], None]) -> Plan:
        """What a start of this session takes; `say` is told how far the preparations are, if they take long.

        Raises `NeedsUser` or `Rejected` with what stands in the way, and `Transient`.
        """
        house = self._house
        self._check_disk()
        row = house.database.glance(lambda conn: store.session(conn, session))
        assert row is not None
        standing = launch.meant(await house.agents.get(row.agent), row)
        runtime = house.runtime_of(row.agent, standing.definition)
        choice = house.gate.choose(row.agent, standing.definition)
        packs = await house.gate.packs(choice, say)
        return Plan(session=row, standing=standing, choice=choice, runtime=runtime, packs=packs)

    async def __call__(self, plan: Plan) -> Started | None:
        """Start it; None where nothing is owed any longer. Raises what stands in the way."""
        house, session = self._house, plan.session.id
        token = secrets.token_hex(32)
        digest = hashlib.sha256(token.encode()).digest()
        now = stamp(house.clock.now())
        failpoint("keeper.before-generation")
        generation = await house.database.write(
            lambda conn: store.raise_generation(
                conn, session, runtime=plan.runtime, token_hash=digest, now=now
            )
        )
        failpoint("keeper.before-start")
        place = folders(house.places, session, plan.session.agent)
        entrance = Entrance(house, plan.session, generation, place, self._heard)
        sandbox: Sandbox | None = None
        try:
            # After the generation: an order that came before it is settled, one after it waits for the runner.
            pending = await house.database.read(lambda conn: store.pending(conn, session))
            if not any(row.wakes for row in pending):
                await house.database.write(lambda conn: store.forget_sandbox(conn, session))
                return None
            await self._inbox.refill(session)
            version = launch.version_of(plan.standing.told, plan.choice)
            fields = launch.record(
                plan.session,
                plan.standing.definition,
                plan.choice,
                generation=generation,
                token=token,
                pending=pending,
                failpoint=self._armed(),
                version=version,
                base=plan.standing.base,
                skills=plan.standing.skills,
            )
            await asyncio.to_thread(launch.write, place.launch, fields, house.identity)
            await entrance.open(digest, plan.choice)
            sandbox = await house.runtimes[plan.runtime].start(
                self._launch(plan, generation, entrance)
            )
            failpoint("keeper.after-start")
            handle = sandbox.mark.handle
            await house.database.write(
                lambda conn: store.keep_handle(conn, session, generation, handle)
            )
        except BaseException:
            await self._undo(plan, sandbox, entrance)
            raise
        return Started(
            session=plan.session,
            standing=plan.standing,
            generation=generation,
            version=version,
            entrance=entrance,
            sandbox=sandbox,
        )

    async def _undo(self, plan: Plan, sandbox: Sandbox | None, entrance: Entrance) -> None:
        """Leave nothing of a start that failed; while something is left, the session gets no other one."""
        session = plan.session
        try:
            if sandbox is not None:
                await sandbox.kill()
        except Broken as exc:
            await self._doubt(session.id, f"Its sandbox could not be ended: {exc}")
            return
        finally:
            await entrance.shut()
        try:
            await self._house.database.write(lambda conn: store.forget_sandbox(conn, session.id))
        except sqlite3.Error:
            # On a full disk, say. A burial does not give up, and forgets it too.
            nothing = Exit(cause="lost", code=None, detail="It was not started.")
            self._bury_soon(
                End(session=session, runtime=plan.runtime, exit=nothing, blameless=True)
            )

    def _check_disk(self) -> None:
        least = self._house.settings.keep_free
        free = shutil.disk_usage(self._house.places.home).free
        if free < least:
            raise NeedsUser(
                f"Only {free // 2**20} MB are free where Salver keeps its data; it starts no sandbox below "
                f"{least // 2**20} MB. Free some space; what waits goes on by itself."
            )

    def _launch(self, plan: Plan, generation: int, entrance: Entrance) -> Launch:
        place = entrance.place
        return Launch(
            install=self._house.install,
            session=plan.session.id,
            generation=generation,
            inbox=place.inbox,
            outbox=place.outbox,
            work=place.work,
            home=place.home,
            line=place.line,
            packs=plan.packs,
            skills={skill.name: skill.folder for skill in plan.standing.skills},
            log=place.log,
            limits=launch.limits(plan.standing.definition),
        )

    def _armed(self) -> str:
        side, _, name = self._house.settings.failpoint.partition(":")
        return name if side == "runner" else ""
