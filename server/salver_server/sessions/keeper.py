"""Who wakes and retires the runners: one owner per session, and no start before a confirmed death.

A session sleeps until something is due for it, lives in one sandbox while it is used, and is buried
when that sandbox has ended.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Literal

from salver_server.clock import stamp
from salver_server.errors import Broken, NeedsUser, Rejected, SalverError, Transient
from salver_server.ids import ChatId, SessionId
from salver_server.kit.rounds import Rounds
from salver_server.messages import Progress
from salver_server.runtimes import Sandbox
from salver_server.sessions import launch, store
from salver_server.sessions.berths import Berths
from salver_server.sessions.burial import Burial, End
from salver_server.sessions.entrance import Entrance
from salver_server.sessions.folders import folders
from salver_server.sessions.house import House
from salver_server.sessions.inbox import Inbox
from salver_server.sessions.line import Heard
from salver_server.sessions.live import Live
from salver_server.sessions.outbox import Outbox
from salver_server.sessions.start import Started, Starter
from salver_server.sessions.take import News
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
        self._heard = Heard(
            rang=self._rang, progressed=self._heard_progress, answered=self._answered
        )
        self._starter = Starter(
            house, inbox=inbox, heard=self._heard, doubt=self.doubt, bury_soon=self.bury_soon
        )

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
        if news.released:
            self._inbox.ask(news.session)
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
        """Retire a runner whose agent, account or model was changed while it was at work."""
        if await self._outdated(live):
            self.retire(live)

    async def _outdated(self, live: Live) -> bool:
        session = live.session.id
        try:
            standing = await self._house.agents.get(live.session.agent)
        except SalverError:
            return False  # it is gone, or was never usable: whoever starts the next runner says so
        row = self._house.database.glance(lambda conn: store.session(conn, session))
        assert row is not None
        standing = launch.meant(standing, row)
        try:
            choice = self._house.gate.choose(live.session.agent, standing.definition)
        except NeedsUser:
            return True  # whoever starts the next runner says what is lacking
        return live.version != launch.version_of(standing.told, choice)

    async def make_way(self, session: SessionId) -> None:
        """Before a hand-over: an idle runner whose agent, account or model was changed ends.

        One at work is left alone: its turn goes on as it began.
        """
        live = self._live.get(session)
        if live is None or not await self._outdated(live):
            return
        if not self._owes(session):
            self.end(live, "Its agent, its account or its model was changed.", blameless=True)
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
        plan = await self._starter.plan(session, partial(self._prepare, session))
        if self._stopped:
            return
        self._launching.add(session)
        self._count()
        try:
            started = await self._starter(plan)
            if started is not None:
                await self._attend(started)
        finally:
            self._launching.discard(session)
            self._count()

    def _prepare(self, session: SessionId, line: str) -> None:
        self._preparing[session] = line
        self._changed(session)

    async def take_over(
        self, row: store.Session, record: store.SandboxRow, sandbox: Sandbox
    ) -> None:
        """Care for a sandbox that an earlier server started."""
        house = self._house
        standing = launch.meant(await house.agents.get(row.agent), row)
        place = folders(house.places, row.id, row.agent)
        choice = house.gate.choose(row.agent, standing.definition)
        entrance = Entrance(house, row, record.generation, place, self._heard)
        assert row.token_hash is not None
        try:
            await entrance.open(row.token_hash, choice)
        except BaseException:
            await entrance.shut()
            raise
        self._berths.keep(row.id)
        self._uncertain.discard(row.id)
        await self._attend(
            Started(
                session=row,
                standing=standing,
                generation=record.generation,
                version=await asyncio.to_thread(launch.version_in, place.launch),
                entrance=entrance,
                sandbox=sandbox,
            )
        )
        self._outbox.ask(row.id)

    # While it lives

    async def _attend(self, started: Started) -> None:
        now, session = self._now(), started.session
        live = Live(
            session=session,
            generation=started.generation,
            sandbox=started.sandbox,
            entrance=started.entrance,
            definition=started.standing.definition,
            version=started.version,
            started=now,
            used=now,
            patient_until=now + self._house.settings.stall,
        )
        self._live[session.id] = live
        self._count()
        if self._house.settings.watch:
            self._watch.add(live.place.outbox, session.id)
        self._tasks.create_task(self._see_out(live), name=f"keeper.see-out({session.id})")
        self._changed(session.id)
        logger.info("runner started", extra={"session": session.id, "generation": live.generation})
        if self._stopped:
            self.end(live, "Everything was stopped.", blameless=True)
        if session.trouble:
            await self._trouble(session.id, "")

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
        await live.entrance.shut()
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
        self._go_on(session)

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
        self._go_on(end.session.id)

    def _go_on(self, session: SessionId) -> None:
        """After a burial, which may also have released what waited for a free agent."""
        self._inbox.ask(session)
        self.ask(session)

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
        await self.go_on()

    async def go_on(self) -> None:
        """See to everything that is pending, now: what it waited for may be there."""
        if not self._stopped:
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
            await self.go_on()

    def _now(self) -> float:
        return self._house.clock.elapsed()
