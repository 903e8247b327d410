"""Who wakes and retires the runners: one owner per session, and no start before a confirmed death.

A session sleeps until something is due for it, lives in one sandbox while it is used, and is buried
when that sandbox has ended: what it wrote is read to the last row, what it left undone waits again.
"""

import asyncio
import hashlib
import logging
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from salver_server.agents import AgentBook, Definition
from salver_server.clock import Clock, stamp
from salver_server.errors import Broken, NeedsUser, SalverError, Transient
from salver_server.ids import ChatId, InstallId, SessionId, new_epoch
from salver_server.kit.failpoint import failpoint
from salver_server.kit.rounds import Rounds
from salver_server.messages import Progress
from salver_server.runtimes import Exit, Identity, Launch, Mark, Runtime, Sandbox
from salver_server.sessions import burial, launch, store
from salver_server.sessions.folders import Folders, folders, make, remove, set_aside
from salver_server.sessions.inbox import Inbox
from salver_server.sessions.line import Heard, Line
from salver_server.sessions.outbox import News, Outbox
from salver_server.sessions.reading import Torn
from salver_server.sessions.watch import Watch
from salver_server.settings import Places, Settings
from salver_server.store import Database

logger = logging.getLogger(__name__)

RETRY_START = 15.0
"""Seconds until a start that needs a person is tried again by itself."""
CRASH_BACK_OFF = (0.0, 0.5, 2.0, 8.0, 30.0)
"""Seconds between a sandbox that died and the next one, by deaths in a row."""
HAND_OVER_FAILURES = 12
"""Failed hand-overs in a row after which the sandbox that holds the lock is ended: about 30 s."""
HEALING = 10.0
"""Seconds that a throw-away sandbox may take to roll a journal back."""

State = Literal["asleep", "waiting", "starting", "live", "ending"]


class Gate(Protocol):
    """The sandbox's only way out, as the keeper opens and shuts it."""

    async def open(
        self, session: SessionId, path: Path, token_hash: bytes, definition: Definition
    ) -> None: ...

    async def close(self, session: SessionId) -> None: ...

    async def packs(self, definition: Definition, say: Callable[[str], None]) -> Mapping[str, Path]:
        """Folders that the definition's provider needs, made first where they are missing.

        `say` is told how far that is. Raises `NeedsUser` and `Transient`.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Live:
    """One session with a sandbox."""

    session: store.Session
    generation: int
    sandbox: Sandbox
    line: Line
    place: Folders
    definition: Definition | None
    """None for an adopted one until its agent was looked at."""
    started: float
    used: float
    """When something was last handed over or done, by the boot clock."""
    patient_until: float
    """The turn is left alone until then."""
    nudges: int = 0
    retiring: bool = False
    blameless: bool = False
    """We end it for reasons of our own: no message is at fault."""
    verdict: str = ""
    """Why we ended it, for people."""
    distrusted: str = ""
    """Why its outbound.db is not taken for a runner's of ours."""
    stalled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the keeper works with, opened by `app`."""

    install: InstallId
    identity: Identity
    settings: Settings
    places: Places
    database: Database
    clock: Clock
    runtimes: Mapping[str, Runtime]
    agents: AgentBook
    gate: Gate


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
        self._live: dict[SessionId, Live] = {}
        self._starting: set[SessionId] = set()
        self._waiting: dict[SessionId, None] = {}
        self._crashes: dict[SessionId, int] = {}
        self._preparing: dict[SessionId, str] = {}
        self._stopped = False
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._rounds = Rounds("keeper.keep", self._keep, tasks)

    # What others ask and tell

    def ask(self, session: SessionId) -> None:
        """See to it that what is pending in this session is worked on."""
        self._rounds.ask(session)

    def handed(self, session: SessionId) -> None:
        """Something was handed over: hurry the runner, or wake one."""
        if live := self._live.get(session):
            live.used = self._now()
            live.patient_until = max(live.patient_until, live.used + self._house.settings.stall)
            live.line.ring()
        else:
            self.ask(session)
        self._changed(session)

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
            self._end(live, f"Its outbound.db could not be trusted: {why}.")

    def state(self, session: SessionId) -> State:
        if live := self._live.get(session):
            return "ending" if live.retiring or live.verdict else "live"
        if session in self._starting:
            return "starting"
        return "waiting" if session in self._waiting else "asleep"

    def live(self, session: SessionId) -> Live | None:
        return self._live.get(session)

    def all_live(self) -> list[Live]:
        return list(self._live.values())

    @property
    def stopped(self) -> bool:
        return self._stopped

    # Waking

    async def _keep(self, session: SessionId) -> None:
        if self._stopped:
            return
        if live := self._live.get(session):
            await self._refresh(live)
            return
        pending = await self._house.database.read(lambda conn: store.pending(conn, session))
        if not any(row.wakes for row in pending):
            self._waiting.pop(session, None)
            return
        self._check_disk()
        if not self._admit(session):
            self._changed(session)
            return
        self._starting.add(session)
        self._count()
        self._changed(session)
        try:
            await self._start(session, pending)
        except NeedsUser as exc:
            await self._trouble(session, str(exc))
            raise Transient(str(exc), retry_after=RETRY_START) from exc
        finally:
            self._starting.discard(session)
            self._preparing.pop(session, None)
            self._count()
            self._changed(session)

    async def _refresh(self, live: Live) -> None:
        """Retire an idle runner whose agent was changed, so that the next message meets the new one."""
        standing = await self._house.agents.get(live.session.agent)
        if live.definition is None:
            live.definition = standing.definition
        if live.definition != standing.definition and not live.retiring:
            live.retiring = True
            live.line.retire()

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self._house.places.home).free
        if free < self._house.settings.keep_free:
            raise NeedsUser(
                f"Only {free // 2**20} MB are free where Salver keeps its data; it starts no sandbox below "
                f"{self._house.settings.keep_free // 2**20} MB. Free some space; what waits goes on by itself."
            )

    def _admit(self, session: SessionId) -> bool:
        """Whether this session may start now; else it waits in line for the next free place."""
        most = self._house.settings.most_sandboxes
        taken = len(self._live) + len(self._starting)
        first = next(iter(self._waiting), session)
        if taken < most and first == session:
            self._waiting.pop(session, None)
            return True
        self._waiting[session] = None
        if taken < most:
            self.ask(first)
        else:
            self._make_room()
        return False

    def _make_room(self) -> None:
        """Ask the runner that has been idle longest to leave."""
        if any(live.retiring for live in self._live.values()):
            return
        for live in sorted(self._live.values(), key=lambda live: live.used):
            live.retiring = True
            live.line.retire()
            return

    def _count(self) -> None:
        """Keep `_emptied` true to its name: no sandbox lives or is being started."""
        if self._live or self._starting:
            self._emptied.clear()
        else:
            self._emptied.set()

    def _admit_next(self) -> None:
        for session in list(self._waiting)[:1]:
            self.ask(session)

    async def _start(self, session: SessionId, pending: list[store.Handover]) -> None:
        house = self._house
        row = await house.database.read(lambda conn: store.session(conn, session))
        assert row is not None
        definition = (await house.agents.get(row.agent)).definition
        runtime_name = definition.runtime or house.settings.runtime
        runtime = house.runtimes.get(runtime_name)
        if runtime is None:
            raise NeedsUser(
                f"Agent '{row.agent}' wants the runtime '{runtime_name}', which this Salver does not have. "
                f"Choose one of: {', '.join(house.runtimes)}."
            )
        place = folders(house.places, session, row.agent)
        packs = await house.gate.packs(definition, partial(self._prepare, session))
        await self._inbox.refill(session)
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
        fields = launch.record(
            row,
            definition,
            generation=generation,
            token=token,
            pending=pending,
            failpoint=self._armed(),
        )
        line = Line(session, generation, self._heard())
        sandbox: Sandbox | None = None
        try:
            await asyncio.to_thread(launch.write, place.launch, fields, house.identity)
            await self._open(session, place, line, digest, definition)
            sandbox = await runtime.start(self._launch(row, place, generation, definition, packs))
            failpoint("keeper.after-start")
            handle = sandbox.mark.handle
            await house.database.write(
                lambda conn: store.keep_handle(conn, session, generation, handle)
            )
        except BaseException:
            if sandbox is not None:
                await sandbox.kill()
            await self._shut(session, place, line)
            await house.database.write(lambda conn: store.forget_sandbox(conn, session))
            raise
        self._attend(row, generation, sandbox, line, place, definition)
        await self._trouble(session, "")
        if self._stopped:
            self._end(self._live[session], "Everything was stopped.", blameless=True)

    def _prepare(self, session: SessionId, line: str) -> None:
        self._preparing[session] = line
        self._changed(session)

    def preparing(self, session: SessionId) -> str:
        """How far the preparations of a start are, while they take long; else empty."""
        return self._preparing.get(session, "")

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

    def _heard(self) -> Heard:
        return Heard(rang=self._rang, progressed=self._heard_progress, answered=self._answered)

    def _rang(self, session: SessionId) -> None:
        if self._house.settings.doorbell:
            self._outbox.ask(session)

    def _heard_progress(self, progress: Progress, seconds: float) -> None:
        if live := self._live.get(progress.session):
            longest = live.definition.limits.seconds if live.definition else 0.0
            alone = max(self._house.settings.stall, min(seconds, longest))
            live.patient_until = max(live.patient_until, self._now() + alone)
            live.nudges = 0
        self._progressed(progress)

    def _answered(self, session: SessionId) -> None:
        if live := self._live.get(session):
            if live.retiring:
                live.line.retire()
            self._changed(session)

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
        definition: Definition | None,
    ) -> None:
        now = self._now()
        live = Live(
            session=row,
            generation=generation,
            sandbox=sandbox,
            line=line,
            place=place,
            definition=definition,
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

    # Ending

    def _end(self, live: Live, why: str, *, blameless: bool = False) -> None:
        """Kill a sandbox; whoever sees it out does the rest."""
        if not live.verdict:
            live.verdict = why
            live.blameless = blameless
            self._tasks.create_task(self._kill(live), name=f"keeper.kill({live.session.id})")

    async def _kill(self, live: Live) -> None:
        try:
            await live.sandbox.kill()
        except Broken as exc:
            # Never a second owner: the session waits until the death is certain.
            await self._trouble(live.session.id, f"Its sandbox could not be ended: {exc}")

    async def _see_out(self, live: Live) -> None:
        """Wait for the end of a sandbox, then bury it."""
        ended = await live.sandbox.ended()
        session = live.session.id
        logger.info(
            "runner ended",
            extra={
                "session": session,
                "cause": ended.cause,
                "code": ended.code,
                "verdict": live.verdict,
            },
        )
        self._watch.drop(live.place.outbox)
        await self._shut(session, live.place, live.line)
        await self._bury(live.session, ended, live, blameless=live.blameless)
        self._live.pop(session, None)
        self._count()
        self._changed(session)
        self._admit_next()
        if live.blameless or (live.verdict == "" and ended.code == 0):
            self.ask(session)
            return
        deaths = self._crashes[session] = self._crashes.get(session, 0) + 1
        wait = CRASH_BACK_OFF[min(deaths, len(CRASH_BACK_OFF)) - 1]
        await self._house.clock.sleep(wait)
        self.ask(session)

    async def _bury(
        self, row: store.Session, ended: Exit, live: Live | None, *, blameless: bool
    ) -> None:
        """Read what is left, put a bad file aside, and let what was cut off wait again or fail."""
        failpoint("keeper.before-burial")
        distrusted = live.distrusted if live else ""
        while not distrusted:
            try:
                await self._outbox.drain(row.id)
                break
            except Torn:
                await self._heal(row)
            except Transient as exc:
                await self._house.clock.sleep(exc.retry_after or 0.05)
            except Broken as exc:
                distrusted = str(exc)
        self._outbox.forget(row.id)
        house, now = self._house, stamp(self._house.clock.now())
        if distrusted:
            place = folders(house.places, row.id, row.agent)
            epoch = new_epoch()
            # The row first: a crash between the two finds the old file under a new epoch, and distrusts it again.
            await house.database.write(lambda conn: store.new_file(conn, row.id, epoch))
            if place.outbox.exists():
                aside = await asyncio.to_thread(set_aside, place.outbox)
                logger.warning(
                    "outbound.db put aside", extra={"session": row.id, "folder": str(aside)}
                )
        end = burial.End(
            session=row,
            exit=ended,
            blameless=blameless,
            stalled=bool(live and live.stalled),
            verdict=live.verdict if live else "",
        )
        chats = await house.database.write(lambda conn: burial.bury(conn, end, now))
        failpoint("keeper.after-burial")
        self._changed(row.id)
        for chat in chats:
            self._owed(chat)

    async def _heal(self, row: store.Session) -> None:
        """Roll the dead runner's journal back in a sandbox that does nothing else."""
        house = self._house
        definition = (await house.agents.get(row.agent)).definition
        runtime = house.runtimes[definition.runtime or house.settings.runtime]
        place = folders(house.places, row.id, row.agent)
        await asyncio.to_thread(make, place, house.identity)
        try:
            sandbox = await runtime.start(
                Launch(
                    install=house.install,
                    session=row.id,
                    generation=row.generation,
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
            await self._trouble(row.id, str(exc))
            await house.clock.sleep(RETRY_START)
            return
        try:
            async with asyncio.timeout(HEALING):
                await sandbox.ended()
        except TimeoutError:
            await sandbox.kill()
            raise Broken("rolling its journal back took too long") from None

    async def _trouble(self, session: SessionId, text: str) -> None:
        await self._house.database.write(lambda conn: store.say_trouble(conn, session, text))
        if text:
            logger.warning("session waits", extra={"session": session, "trouble": text})
        self._changed(session)

    def _now(self) -> float:
        return self._house.clock.elapsed()

    # Starting and stopping the house

    async def adopt(self) -> None:
        """Find the sandboxes that outlived the last server; whatever cannot be is buried or ended.

        Runs before anything is started, so that no session ever gets a second owner.
        """
        house = self._house
        rows = await house.database.read(store.sandboxes)
        found: dict[tuple[SessionId, int], Mark] = {}
        strays: list[Mark] = []
        generations = {row.session: row.generation for row in rows}
        for runtime in house.runtimes.values():
            for mark in await runtime.list():
                if generations.get(mark.session) == mark.generation:
                    found[(mark.session, mark.generation)] = mark
                else:
                    strays.append(mark)
        for mark in strays:
            await self._end_stray(mark)
        async with asyncio.TaskGroup() as tasks:
            for row in rows:
                mark = found.get((row.session, row.generation))
                tasks.create_task(self._adopt_one(row, mark), name=f"keeper.adopt({row.session})")

    async def _end_stray(self, mark: Mark) -> None:
        sandbox = await self._house.runtimes[mark.runtime].adopt(mark)
        if sandbox is not None:
            logger.warning(
                "stray sandbox ended",
                extra={"session": mark.session, "generation": mark.generation},
            )
            await sandbox.kill()

    async def _adopt_one(self, row: store.SandboxRow, mark: Mark | None) -> None:
        house = self._house
        session = await house.database.read(lambda conn: store.session(conn, row.session))
        assert session is not None
        runtime = house.runtimes.get(row.runtime)
        if mark is None and row.handle is not None:
            mark = Mark(
                runtime=row.runtime,
                session=row.session,
                generation=row.generation,
                handle=row.handle,
            )
        sandbox: Sandbox | None = None
        if mark is not None and runtime is not None:
            try:
                sandbox = await runtime.adopt(mark)
            except Broken as exc:
                await self._trouble(
                    row.session, f"Whether its last sandbox still lives is not certain: {exc}"
                )
                return
        if sandbox is None:
            ended = Exit(cause="lost", code=None, detail="It ended while Salver was not running.")
            # A server that died before its sandbox existed says nothing about any message.
            await self._bury(session, ended, None, blameless=row.handle is None)
            return
        if row.handle is None:
            handle = sandbox.mark.handle
            await house.database.write(
                lambda conn: store.keep_handle(conn, row.session, row.generation, handle)
            )
        place = folders(house.places, session.id, session.agent)
        line = Line(session.id, row.generation, self._heard())
        definition = (await house.agents.get(session.agent)).definition
        assert session.token_hash is not None
        await self._open(session.id, place, line, session.token_hash, definition)
        self._attend(session, row.generation, sandbox, line, place, None)
        self._outbox.ask(session.id)

    async def begin(self, *, stopped: bool) -> None:
        """Go on with everything that is pending, unless everything was stopped."""
        self._stopped = stopped
        if stopped:
            await self.end_all("Everything was stopped.")
            return
        for session in await self._house.database.read(store.sessions_pending):
            self.ask(session)

    async def stop(self) -> None:
        """Start nothing any more and end every sandbox; what was running waits again. Within 2 s."""
        self._stopped = True
        await self.end_all("Everything was stopped.")

    async def close(self) -> None:
        """Salver ends in order: no sandbox outlives it, and what was running waits for the next start."""
        self._stopped = True
        await self.end_all("Salver was ended.")

    async def end_all(self, why: str) -> None:
        for live in list(self._live.values()):
            self._end(live, why, blameless=True)
        await self._emptied.wait()

    async def end_session(self, session: SessionId, why: str) -> None:
        """End the sandbox of a session that was closed."""
        if live := self._live.get(session):
            self._end(live, why, blameless=True)

    async def sweep(self) -> None:
        """The safety net, slow: look at everything that lives, and at everything that waits."""
        while True:
            await self._house.clock.sleep(self._house.settings.sweep)
            for session in self._live:
                self._outbox.ask(session)
            if not self._stopped:
                for session in await self._house.database.read(store.sessions_pending):
                    self.ask(session)

    async def watch_over(self) -> None:
        """End what is idle, and what shows no progress: asked, then cancelled, then killed."""
        settings = self._house.settings
        step = min(5.0, settings.idle / 4, settings.stall / 4)
        while True:
            await self._house.clock.sleep(step)
            for live in list(self._live.values()):
                await self._judge(live)

    async def _judge(self, live: Live) -> None:
        session, settings, now = live.session.id, self._house.settings, self._now()
        if live.verdict:
            return
        if self._inbox.failures(session) >= HAND_OVER_FAILURES:
            self._end(live, "It kept inbound.db locked.")
            return
        if now >= live.patient_until and await self._owes(session):
            self._press(live)
            return
        if now - live.used >= settings.idle and not live.retiring and not await self._owes(session):
            live.retiring = True
            live.line.retire()

    async def _owes(self, session: SessionId) -> bool:
        rows = await self._house.database.read(lambda conn: store.pending(conn, session))
        return any(row.wakes for row in rows)

    def _press(self, live: Live) -> None:
        """A turn without progress: one step harder each time."""
        live.nudges += 1
        live.patient_until = self._now() + min(self._house.settings.stall / 2, 10.0)
        logger.warning("no progress", extra={"session": live.session.id, "nudges": live.nudges})
        match live.nudges:
            case 1:
                live.line.ring()
                live.line.ping()
            case 2:
                live.line.cancel()
            case _:
                live.stalled = True
                self._end(live, f"It showed no progress for {self._house.settings.stall:g} s.")
