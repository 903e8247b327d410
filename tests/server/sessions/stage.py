"""The bus as `app` opens it, over a runtime whose sandboxes live and die at a test's word."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salver_server.accounts import Choice
from salver_server.agents import AgentBook, Definition, SkillBook
from salver_server.errors import NeedsUser, SalverError
from salver_server.ids import AgentName, ChatId, InstallId, SessionId
from salver_server.kit.background import background
from salver_server.messages import Progress
from salver_server.runtimes import Identity
from salver_server.sessions import store
from salver_server.sessions.folders import Folders, folders
from salver_server.sessions.house import House
from salver_server.sessions.inbox import Inbox
from salver_server.sessions.keeper import Keeper, State
from salver_server.sessions.line import PROTOCOL
from salver_server.sessions.live import Live
from salver_server.sessions.outbox import Outbox
from salver_server.sessions.reading import open_reading
from salver_server.sessions.take import News
from salver_server.sessions.watch import Watch
from salver_server.settings import Places, Settings
from tests.fakes.channel import PATIENCE
from tests.fakes.clock import FakeClock
from tests.fakes.stage import NAME, StageRuntime
from tests.server.conftest import SALVER, Desk
from tests.server.sessions.outbound import Outbound

ME = Identity(uid=os.geteuid(), gid=os.getegid())
INSTALL = InstallId("ins-1")
DEMO = Choice(runner="demo", pack=None)
FIRST_AGENT, CHANGED_AGENT = "Be kind.", "Be brief."
ROUNDS = ("keeper.keep(", "keeper.kill(", "keeper.bury(", "inbox.hand-over", "outbox.look(")
"""Names of tasks that are done when what was asked for is done."""


class StageGate:
    """A gateway that only remembers for whom it is open."""

    def __init__(self) -> None:
        self.open_for: set[SessionId] = set()
        self.refusal: SalverError | None = None
        """Raised by the next openings, until it's None again."""
        self.prepared = asyncio.Event()
        """What a provider needs is there; cleared, starts wait for it."""
        self.prepared.set()

        self.choice = DEMO
        """What every agent's turns are run with from now on."""
        self.lack = ""
        """What stands in the way of choosing, until it's empty again."""

    def choose(self, agent: AgentName, definition: Definition) -> Choice:
        assert (bool(agent), definition.provider) == (True, "")
        if self.lack:
            raise NeedsUser(self.lack)
        return self.choice

    async def open(
        self, session: SessionId, path: Path, *, agent: AgentName, token_hash: bytes, choice: Choice
    ) -> None:
        assert (path.parent.is_dir(), len(token_hash), choice) == (True, 32, self.choice)
        assert agent
        if self.refusal:
            raise self.refusal
        self.open_for.add(session)

    async def close(self, session: SessionId) -> None:
        self.open_for.discard(session)

    async def packs(self, choice: Choice, say: Callable[[str], None]) -> Mapping[str, Path]:
        if not self.prepared.is_set():
            say(f"Preparing {choice.runner}.")
            await self.prepared.wait()
        return {}


@dataclass(slots=True)
class Caller:
    """A runner's end of the line."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, **frame: object) -> None:
        self.writer.write(json.dumps(frame).encode() + b"\n")

    async def told(self) -> str:
        """The next order's name."""
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self.reader.readline())["frame"]


@dataclass(slots=True, kw_only=True)
class Stage:
    """Keeper, inbox and outbox, and what they told the rooms around them."""

    desk: Desk
    house: House
    inbox: Inbox
    outbox: Outbox
    keeper: Keeper
    runtime: StageRuntime
    gate: StageGate
    tasks: asyncio.TaskGroup
    owed: list[ChatId]
    progress: list[Progress]
    changed: asyncio.Event

    @property
    def clock(self) -> FakeClock:
        return self.desk.clock

    async def say(
        self, text: str = "hello", *, thread: str | None = None, agent: AgentName = SALVER
    ) -> SessionId:
        """Somebody writes, and the bus is told; returns the session it is for."""
        found = await self.desk.intake(self.desk.message(text, thread=thread, address=agent))
        (session,) = found.sessions
        self.inbox.ask(session)
        return session

    async def wakes(self, *, thread: str | None = None, agent: AgentName = SALVER) -> Live:
        """Somebody writes to a session without a sandbox; returns it with one."""
        return await self.lives(await self.say(thread=thread, agent=agent))

    async def lives(self, session: SessionId) -> Live:
        """The session's sandbox, once it has one."""
        await self.until(lambda: self.keeper.live(session) is not None)
        live = self.keeper.live(session)
        assert live is not None
        return live

    async def dies(self, live: Live, code: int = 0) -> None:
        """Its runner ends by itself, and is buried."""
        self.runtime.of(live.session.id)[-1].end(code)
        await self.is_buried(live)

    async def is_buried(self, live: Live) -> None:
        async with asyncio.timeout(PATIENCE):
            await live.buried.wait()

    async def until(self, true: Callable[[], bool]) -> None:
        """Return once the keeper has brought this about."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    async def in_trouble(self, session: SessionId) -> str:
        """What troubles the session, once something does."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self.changed.clear()
                if trouble := await self.trouble(session):
                    return trouble
                await self.changed.wait()

    async def quiet(self, *names: str) -> None:
        """Return once everything that was asked for is done; of these tasks, or of all."""
        async with asyncio.timeout(PATIENCE):
            while busy := [
                t for t in asyncio.all_tasks() if t.get_name().startswith(names or ROUNDS)
            ]:
                await asyncio.wait(busy)

    async def forbid(self, what: str) -> None:
        """As on a full disk: this cannot be written until it's allowed again."""
        await self.desk.database.write(
            lambda conn: conn.execute(
                f"CREATE TRIGGER forbidden BEFORE {what} BEGIN SELECT RAISE(ABORT, 'no room'); END"
            )
        )

    async def allow(self) -> None:
        await self.desk.database.write(lambda conn: conn.execute("DROP TRIGGER forbidden"))

    def states(self, *sessions: SessionId) -> list[State]:
        return [self.keeper.state(session) for session in sessions]

    async def trouble(self, session: SessionId) -> str:
        return (await self.desk.session(session)).trouble

    async def on_record(self) -> list[store.SandboxRow]:
        return await self.desk.database.read(store.sandboxes)

    async def attempts(self, session: SessionId) -> list[int]:
        rows = await self.desk.database.read(
            lambda conn: conn.execute(
                "SELECT attempts FROM handovers WHERE session = ? ORDER BY seq", (session,)
            ).fetchall()
        )
        return [row[0] for row in rows]

    def place(self, session: SessionId) -> Folders:
        """Where a session of `salver` has its folders."""
        return folders(self.house.places, session, SALVER)

    async def outbound(self, live: Live) -> Outbound:
        """The file that its runner makes."""
        session = await self.desk.session(live.session.id)
        return Outbound(live.place.outbox).make(epoch=session.epoch, generation=live.generation)

    @asynccontextmanager
    async def on_the_line(self, live: Live) -> AsyncGenerator[Caller]:
        """Its runner, which has greeted and was heard."""
        reader, writer = await asyncio.open_unix_connection(live.place.line_socket)
        caller = Caller(reader, writer)
        try:
            caller.say(frame="hello", generation=live.generation, protocol=PROTOCOL)
            await self.shows_progress(caller)
            yield caller
        finally:
            writer.close()

    async def shows_progress(self, caller: Caller, seconds: float = 0) -> None:
        """The runner shows a word, asks to be left alone for so long, and is heard."""
        before = len(self.progress)
        caller.say(frame="live", turn=1, kind="text", text="hm", seconds=seconds)
        await self.until(lambda: len(self.progress) > before)


@asynccontextmanager
async def set_stage(
    desk: Desk, folder: Path, *, runtime: StageRuntime | None = None, **settings: Any
) -> AsyncGenerator[Stage]:
    """The bus over this desk's database; at the end its server is gone, and its sandboxes live on."""
    places = Places(folder / "home", folder / "sockets")
    places.home.mkdir(exist_ok=True)
    agents = AgentBook(
        folder=places.agents,
        skills=SkillBook(places.skills),
        database=desk.database,
        clock=desk.clock,
    )
    await agents.open()
    if not (places.agents / SALVER / "AGENT.md").exists():
        await agents.put(SALVER, FIRST_AGENT)
    runtime = runtime or StageRuntime(INSTALL)
    gate = StageGate()
    about: dict[str, Any] = {"keep_free": 0, **settings}
    owed: list[ChatId] = []
    progress: list[Progress] = []
    changed = asyncio.Event()

    def written(session: SessionId) -> None:
        keeper.hurry(session)

    def handed(session: SessionId) -> None:
        keeper.handed(session)

    async def make_way(session: SessionId) -> None:
        await keeper.make_way(session)

    def brought(news: News) -> None:
        keeper.brought(news)

    def distrusted(session: SessionId, why: str) -> None:
        keeper.distrust(session, why)

    def progressed(word: Progress) -> None:
        progress.append(word)
        changed.set()

    async with (
        open_reading() as reading,
        desk.outgoing(places) as outgoing,
        background() as tasks,
    ):
        inbox = Inbox(
            database=desk.database,
            places=places,
            identity=ME,
            clock=desk.clock,
            tasks=tasks,
            written=written,
            handed=handed,
            make_way=make_way,
        )
        outbox = Outbox(
            database=desk.database,
            reading=reading,
            outgoing=outgoing,
            places=places,
            clock=desk.clock,
            tasks=tasks,
            brought=brought,
            distrusted=distrusted,
        )
        house = House(
            install=INSTALL,
            identity=ME,
            settings=Settings(home=places.home, runtime=NAME, **about),
            places=places,
            database=desk.database,
            clock=desk.clock,
            runtimes={NAME: runtime},
            agents=agents,
            gate=gate,
        )
        keeper = Keeper(
            house,
            inbox=inbox,
            outbox=outbox,
            watch=Watch(outbox.ask),
            tasks=tasks,
            changed=lambda _: changed.set(),
            owed=owed.append,
            progressed=progressed,
        )
        yield Stage(
            desk=desk,
            house=house,
            inbox=inbox,
            outbox=outbox,
            keeper=keeper,
            runtime=runtime,
            gate=gate,
            tasks=tasks,
            owed=owed,
            progress=progress,
            changed=changed,
        )
        for live in keeper.all_live():
            live.line.close()
