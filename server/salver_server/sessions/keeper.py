"""Who wakes and retires the runners: one owner per session, and no start before a confirmed death.

A session sleeps until something is due for it, lives in one sandbox while it is used, and is buried
when that sandbox has ended.
"""

import asyncio
import contextlib
import hashlib
import logging
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from salver_server.agents import Definition, Standing
from salver_server.clock import stamp
from salver_server.errors import Broken, NeedsUser, Rejected, SalverError, Transient
from salver_server.ids import ChatId, SessionId
from salver_server.kit.failpoint import failpoint
from salver_server.kit.rounds import Rounds
from salver_server.messages import Progress
from salver_server.runtimes import Exit, Launch, Sandbox
from salver_server.sessions import launch, store
from salver_server.sessions.berths import Berths
from salver_server.sessions.burial import Burial, End
from salver_server.sessions.folders import Folders, folders, make, remove
from salver_server.sessions.house import House
from salver_server.sessions.inbox import Inbox
from salver_server.sessions.line import Heard, Line
from salver_server.sessions.live import Live
from salver_server.sessions.outbox import News, Outbox
from salver_server.sessions.watch import Watch
from salver_server.store.install import set_stopped

logger = logging.getLogger(__name__)

RETRY_START = 15.0
"""Seconds until a start that needs a person is tried again by itself."""
RETRY_BURIAL = 2.0
"""Seconds until a burial that failed, on a full disk say, is tried again."""
DEATHS = 5.0
"""Seconds to wait for the death of every sandbox; 200 take a tenth."""
BURIALS = 3.0
"""Seconds to wait for what they leave to be settled."""
CRASH_BACK_OFF = (0.0, 0.5, 2.0, 8.0, 30.0)
"""Seconds between a sandbox that died and the next one, by deaths in a row."""

State = Literal["asleep", "waiting", "starting", "live", "ending", "uncertain"]


class Keeper:
    def __init__(
        self,
        house: House,
        *,
        inbox: Inbox,
        outbox: Outbox,
        watch: Watch,
        tasks: asyncio.TaskGroup,
        changed: Callable[[SessionId], None],
        owed: Callable[[ChatId], None],
        progressed: Callable[[Progress], None],
    ) -> None:
        self._house = house
        self._inbox = inbox
        self._outbox = outbox
        self._watch = watch
        self._tasks = tasks
        self._changed = changed
        self._owed = owed
        self._progressed = progressed
        self._berths = Berths(house.settings.most_sandboxes)
        self._live: dict[SessionId, Live] = {}
        self._starting: set[SessionId] = set()
        self._launching: set[SessionId] = set()
        """Starts past the point from which a sandbox may exist."""
        self._uncertain: set[SessionId] = set()
        self._preparing: dict[SessionId, str] = {}
        self._crashes: dict[SessionId, int] = {}
        self._stopped = False
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._rounds = Rounds("keeper.keep", self._keep, tasks, sleep=house.clock.sleep)
        self._burial = Burial(house, outbox, trouble=self._trouble, owed=owed)

    # What others ask and tell

    def ask(self, session: SessionId) -> None:
        """See to it that what is pending in this session is worked on."""
        self._rounds.ask(session)

    def hurry(self, session: SessionId) -> None:
        """Something lies in inbound.db: a runner that lives may take it up."""
        if live := self._live.get(session):
            live.used = self._now()
            live.patient_until = max(live.patient_until, live.used + self._house.settings.stall)
            live.line.ring()

    def handed(self, session: SessionId) -> None:
        """The same, and it is on record: a runner that does not live may be woken."""
        self.ask(session)
        self._changed(session)

    def reconsider(self, session: SessionId) -> None:
        """Something was said or ordered: who waits for a place may need none any more."""
        if self._berths.waits(session):
            self.ask(session)

    def brought(self, news: News) -> None:
        """The runner wrote rows."""
        if live := self._live.get(news.session):
            live.used = self._now()
            live.patient_until = live.used + self._house.settings.stall
            live.nudges = 0
            if news.closed:
                self._crashes.pop(news.session, None)
                self.ask(news.session)
        self._changed(news.session)
        for chat in news.chats:
            self._owed(chat)

    def distrust(self, session: SessionId, why: str) -> None:
        """Its outbound.db is not a runner's of ours: end the sandbox, put the file aside, start anew."""
        logger.error("outbound.db is not trusted", extra={"session": session, "why": why})
        if live := self._live.get(session):
            live.distrusted = why
            self.end(live, f"Its outbound.db could not be trusted: {why}.")

    async def doubt(self, session: SessionId, why: str) -> None:
        """Neither life nor death of its sandbox is certain: it waits."""
        self._uncertain.add(session)
        await self._trouble(session, why)

    def state(self, session: SessionId) -> State:
        if live := self._live.get(session):
            return "ending" if live.leaving else "live"
        if session in self._starting:
            return "starting"
        if session in self._uncertain:
            return "uncertain"
        return "waiting" if self._berths.waits(session) else "asleep"

    def preparing(self, session: SessionId) -> str:
        """How far the preparations of a start are, while they take long; else empty."""
        return self._preparing.get(session, "")

    def live(self, session: SessionId) -> Live | None:
        return self._live.get(session)

    def all_live(self) -> list[Live]:
        return list(self._live.values())

    @property
    def stopped(self) -> bool:
        return self._stopped

    # Waking

    async def _keep(self, session: SessionId) -> None:
        if self._stopped or session in self._uncertain:
            return
        if live := self._live.get(session):
            await self._renew(live)
            return
        if not self._owes(session):
            self._leave_berth(session)
            return
        if not self._berths.take(session):
            self._make_room()
            self._changed(session)
            return
        # Several places may have been left at once; whoever still waits needs another one to leave.
        self._let_in()
        self._make_room()
        self._starting.add(session)
        self._changed(session)
        try:
            await self._start(session)
            # Who came meanwhile found nobody whom it could ask to leave.
            self._make_room()
        except (NeedsUser, Rejected) as exc:  # `Rejected`: its agent is gone, or was never usable
            await self._trouble(session, str(exc))
            raise Transient(str(exc), retry_after=RETRY_START) from exc
        finally:
            self._starting.discard(session)
            self._preparing.pop(session, None)
            if session not in self._live:
                self._leave_berth(session)
            self._changed(session)

    async def _renew(self, live: Live) -> None:
        """Retire a runner whose agent was changed while it was at work."""
        if await self._outdated(live):
            self.retire(live)

    async def _outdated(self, live: Live) -> bool:
        try:
            standing = await self._house.agents.get(live.session.agent)
        except SalverError:
            return False  # it is gone, or was never usable: whoever starts the next runner says so
        return live.version != launch.version_of(standing.text)

    async def make_way(self, session: SessionId) -> None:
        """Before a hand-over: an idle runner of an agent that was changed ends, so that the message meets the new one.

        One at work is left alone: its turn goes on as it began.
        """
        live = self._live.get(session)
        if live is None or not await self._outdated(live):
            return
        if not self._owes(session):
            self.end(live, "Its agent was changed.", blameless=True)
            await live.buried.wait()

    def _owes(self, session: SessionId) -> bool:
        return self._house.database.glance(lambda conn: store.owes(conn, session))

    def _make_room(self) -> None:
        """Ask the runner that has been idle longest to leave, once it has nothing to do."""
        lives = list(self._live.values())
        if lives and self._berths.crowded and not any(live.leaving for live in lives):
            self.retire(min(lives, key=lambda live: live.used))

    def _leave_berth(self, session: SessionId) -> None:
        self._berths.leave(session)
        self._let_in()

    def _let_in(self) -> None:
        if (following := self._berths.next()) is not None:
            self.ask(following)

    async def _start(self, session: SessionId) -> None:
        house = self._house
        self._check_disk()
        row = house.database.glance(lambda conn: store.session(conn, session))
        assert row is not None
        standing = await house.agents.get(row.agent)
        definition = standing.definition
        runtime = house.runtime_of(row.agent, definition)
        packs = await house.gate.packs(definition, partial(self._prepare, session))
        place = folders(house.places, session, row.agent)
        if self._stopped:
            return
        self._launching.add(session)
        self._count()
        try:
            await self._launch_one(row, place, runtime, standing, packs)
        finally:
            self._launching.discard(session)
            self._count()

    async def _launch_one(
        self,
        row: store.Session,
        place: Folders,
        runtime_name: str,
        standing: Standing,
        packs: Mapping[str, Path],
    ) -> None:
        house, session, definition = self._house, row.id, standing.definition
        version = launch.version_of(standing.text)
        token = secrets.token_hex(32)
        digest = hashlib.sha256(token.encode()).digest()
        now = stamp(house.clock.now())
        failpoint("keeper.before-generation")
        generation = await house.database.write(
            lambda conn: store.raise_generation(
                conn, session, runtime=runtime_name, token_hash=digest, now=now
            )
        )
        failpoint("keeper.before-start")
        line = Line(session, generation, self._heard())
        sandbox: Sandbox | None = None
        try:
            # After the generation: an order that came before it is settled, one after it waits for the runner.
            pending = await house.database.read(lambda conn: store.pending(conn, session))
            if not any(row.wakes for row in pending):
                await house.database.write(lambda conn: store.forget_sandbox(conn, session))
                return
            await self._inbox.refill(session)
            fields = launch.record(
                row,
                definition,
                generation=generation,
                token=token,
                pending=pending,
                failpoint=self._armed(),
                version=version,
            )
            await asyncio.to_thread(launch.write, place.launch, fields, house.identity)
            await self._open(session, place, line, digest, definition)
            sandbox = await house.runtimes[runtime_name].start(
                self._launch(row, place, generation, definition, packs)
            )
            failpoint("keeper.after-start")
            handle = sandbox.mark.handle
            await house.database.write(
                lambda conn: store.keep_handle(conn, session, generation, handle)
            )
        except BaseException:
            await self._undo(row, runtime_name, sandbox, place, line)
            raise
        self._attend(row, generation, sandbox, line, place, definition, version)
        if row.trouble:
            await self._trouble(session, "")
        if self._stopped:
            self.end(self._live[session], "Everything was stopped.", blameless=True)

    async def _undo(
        self,
        row: store.Session,
        runtime_name: str,
        sandbox: Sandbox | None,
        place: Folders,
        line: Line,
    ) -> None:
        """Leave nothing of a start that failed; while something is left, the session gets no other one."""
        try:
            if sandbox is not None:
                await sandbox.kill()
        except Broken as exc:
            await self.doubt(row.id, f"Its sandbox could not be ended: {exc}")
            return
        finally:
            await self._shut(row.id, place, line)
        try:
            await self._house.database.write(lambda conn: store.forget_sandbox(conn, row.id))
        except sqlite3.Error:
            # On a full disk, say. A burial does not give up, and forgets it too.
            nothing = Exit(cause="lost", code=None, detail="It was not started.")
            self.bury_soon(End(session=row, runtime=runtime_name, exit=nothing, blameless=True))

    def _check_disk(self) -> None:
        least, free = (
            self._house.settings.keep_free,
            shutil.disk_usage(self._house.places.home).free,
        )
        if free < least:
            raise NeedsUser(
                f"Only {free // 2**20} MB are free where Salver keeps its data; it starts no sandbox below "
                f"{least // 2**20} MB. Free some space; what waits goes on by itself."
            )

    def _prepare(self, session: SessionId, line: str) -> None:
        self._preparing[session] = line
        self._changed(session)

    def _launch(
        self,
        row: store.Session,
        place: Folders,
        generation: int,
        definition: Definition,
        packs: Mapping[str, Path],
    ) -> Launch:
        return Launch(
            install=self._house.install,
            session=row.id,
            generation=generation,
            inbox=place.inbox,
            outbox=place.outbox,
            work=place.work,
            home=place.home,
            line=place.line,
            packs=packs,
            log=place.log,
            limits=launch.limits(definition),
        )

    def _armed(self) -> str:
        side, _, name = self._house.settings.failpoint.partition(":")
        return name if side == "runner" else ""

    async def take_over(
        self, row: store.Session, record: store.SandboxRow, sandbox: Sandbox
    ) -> None:
        """Care for a sandbox that an earlier server started."""
        place = folders(self._house.places, row.id, row.agent)
        line = Line(row.id, record.generation, self._heard())
        definition = (await self._house.agents.get(row.agent)).definition
        assert row.token_hash is not None
        try:
            await self._open(row.id, place, line, row.token_hash, definition)
            if row.trouble:
                await self._trouble(row.id, "")
        except BaseException:
            await self._shut(row.id, place, line)
            raise
        self._berths.keep(row.id)
        self._uncertain.discard(row.id)
        version = await asyncio.to_thread(launch.version_in, place.launch)
        self._attend(row, record.generation, sandbox, line, place, definition, version)
        self._outbox.ask(row.id)

    # While it lives

    async def _open(
        self,
        session: SessionId,
        place: Folders,
        line: Line,
        token_hash: bytes,
        definition: Definition,
    ) -> None:
        await asyncio.to_thread(make, place, self._house.identity)
        await line.open(place.line_socket, self._house.identity)
        await self._house.gate.open(session, place.gateway_socket, token_hash, definition)

    async def _shut(self, session: SessionId, place: Folders, line: Line) -> None:
        line.close()
        await self._house.gate.close(session)
        await asyncio.to_thread(remove, place)

    def _attend(
        self,
        row: store.Session,
        generation: int,
        sandbox: Sandbox,
        line: Line,
        place: Folders,
        definition: Definition,
        version: str,
    ) -> None:
        now = self._now()
        live = Live(
            session=row,
            generation=generation,
            sandbox=sandbox,
            line=line,
            place=place,
            definition=definition,
            version=version,
            started=now,
            used=now,
            patient_until=now + self._house.settings.stall,
        )
        self._live[row.id] = live
        self._count()
        if self._house.settings.watch:
            self._watch.add(place.outbox, row.id)
        self._tasks.create_task(self._see_out(live), name=f"keeper.see-out({row.id})")
        self._changed(row.id)
        logger.info("runner started", extra={"session": row.id, "generation": generation})

    def _heard(self) -> Heard:
        return Heard(rang=self._rang, progressed=self._heard_progress, answered=self._answered)

    def _rang(self, session: SessionId) -> None:
        if self._house.settings.doorbell:
            self._outbox.ask(session)

    def _heard_progress(self, progress: Progress, seconds: float) -> None:
        if live := self._live.get(progress.session):
            longest = live.definition.limits.seconds
            alone = max(self._house.settings.stall, min(seconds, longest))
            live.patient_until = max(live.patient_until, self._now() + alone)
            live.nudges = 0
        self._progressed(progress)

    def _answered(self, session: SessionId) -> None:
        # A runner that greets has perhaps missed what was said while the line was cut.
        if (live := self._live.get(session)) and live.retiring:
            live.line.retire()

    def _count(self) -> None:
        """Keep `_emptied` true to its name: no sandbox lives or is being made."""
        if self._left():
            self._emptied.clear()
        else:
            self._emptied.set()

    def _left(self) -> int:
        """How many sandboxes live or are being made; those that wait for their burial do neither."""
        return len(self._launching) + sum(not live.dead for live in self._live.values())

    # Ending

    def retire(self, live: Live) -> None:
        """Let a runner leave as soon as it has nothing to do."""
        if not live.retiring:
            live.retiring = True
            live.line.retire()

    def end(self, live: Live, why: str, *, blameless: bool = False) -> None:
        """Kill a sandbox; whoever sees it out does the rest."""
        if not live.verdict:
            live.verdict = why
            live.blameless = blameless
            self.insist(live)

    def insist(self, live: Live) -> None:
        """Kill a sandbox that is to end, unless that is under way."""
        if not live.killing:
            live.killing = True
            self._tasks.create_task(self._kill(live), name=f"keeper.kill({live.session.id})")

    async def _kill(self, live: Live) -> None:
        try:
            try:
                await live.sandbox.kill()
            except Broken as exc:
                # Never a second owner: the session waits until the death is certain.
                await self._trouble(live.session.id, f"Its sandbox could not be ended: {exc}")
        except Exception:
            # Nobody awaits this; the watchdog insists.
            logger.exception("kill failed", extra={"session": live.session.id})
        finally:
            live.killing = False

    async def _see_out(self, live: Live) -> None:
        """Wait for the end of a sandbox, bury it, and go on with what waits."""
        ended = await live.sandbox.ended()
        session, live.dead = live.session.id, True
        self._count()
        logger.info(
            "runner ended",
            extra={
                "session": session,
                "cause": ended.cause,
                "code": ended.code,
                "why": live.verdict,
            },
        )
        self._watch.drop(live.place.outbox)
        await self._shut(session, live.place, live.line)
        await self.bury(
            End(
                session=live.session,
                runtime=live.sandbox.mark.runtime,
                exit=ended,
                blameless=live.blameless,
                stalled=live.stalled,
                verdict=live.verdict,
                distrusted=live.distrusted,
            )
        )
        self._live.pop(session, None)
        live.buried.set()
        self._leave_berth(session)
        self._changed(session)
        if not live.blameless and (live.verdict or ended.code != 0):
            deaths = self._crashes[session] = self._crashes.get(session, 0) + 1
            await self._house.clock.sleep(CRASH_BACK_OFF[min(deaths, len(CRASH_BACK_OFF)) - 1])
        self.ask(session)

    async def bury(self, end: End) -> None:
        """Settle what a dead sandbox leaves; then the session may be started anew.

        Does not give up: until its last sandbox is buried, a session may not have another one.
        """
        while True:
            try:
                await self._burial(end)
                break
            except Exception:
                logger.exception("burial failed", extra={"session": end.session.id})
                await self._house.clock.sleep(RETRY_BURIAL)
        self._uncertain.discard(end.session.id)
        self._changed(end.session.id)

    def bury_soon(self, end: End) -> None:
        """Bury a sandbox that nobody has seen out; its session waits until that is done."""
        self._uncertain.add(end.session.id)
        self._tasks.create_task(self._bury_and_go_on(end), name=f"keeper.bury({end.session.id})")

    async def _bury_and_go_on(self, end: End) -> None:
        await self.bury(end)
        self.ask(end.session.id)

    async def _trouble(self, session: SessionId, text: str) -> None:
        await self._house.database.write(lambda conn: store.say_trouble(conn, session, text))
        if text:
            logger.warning("session waits", extra={"session": session, "trouble": text})
        self._changed(session)

    # The house as a whole

    async def begin(self, *, stopped: bool) -> None:
        """Go on with everything that is pending, unless everything was stopped."""
        self._stopped = stopped
        if stopped:
            await self._end_all("Everything was stopped.")
            return
        for session in await self._house.database.read(store.sessions_pending):
            self.ask(session)

    async def stop(self) -> int:
        """Start nothing any more, also after a restart, and end every sandbox; what was running waits again.

        All are dead within 2 s; returns how many are not after `DEATHS`.
        """
        now = stamp(self._house.clock.now())
        await self._house.database.write(lambda conn: set_stopped(conn, now))
        self._stopped = True
        return await self._end_all("Everything was stopped.")

    async def resume(self) -> None:
        """Go on with everything that waits."""
        await self._house.database.write(lambda conn: set_stopped(conn, None))
        await self.begin(stopped=False)

    async def close(self) -> None:
        """Salver ends in order: no sandbox outlives it, and what was running waits for the next start."""
        self._stopped = True
        await self._end_all("Salver was ended.")

    async def _end_all(self, why: str) -> int:
        for live in self.all_live():
            self.end(live, why, blameless=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEATHS):
                await self._emptied.wait()
            # One that can't be buried now, on a full disk say, is so later, or by the next server.
            async with asyncio.timeout(BURIALS):
                for live in self.all_live():
                    await live.buried.wait()
        return self._left()

    def end_session(self, session: SessionId, why: str) -> None:
        """End the sandbox of a session that was closed."""
        if live := self._live.get(session):
            self.end(live, why, blameless=True)

    async def sweep(self) -> None:
        """The safety net, slow: look at everything that lives, and at everything that waits."""
        while True:
            await self._house.clock.sleep(self._house.settings.sweep)
            self._outbox.sweep(self._live)
            if not self._stopped:
                for session in await self._house.database.read(store.sessions_pending):
                    self.ask(session)

    def _now(self) -> float:
        return self._house.clock.elapsed()
