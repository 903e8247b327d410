"""StageRuntime: sandboxes that exist only as promises; they start at once, and end when a test says so.

For rooms that care when a sandbox starts and ends, not what goes on in it. No program runs: nothing is
read, written or printed, its folders are only looked for, `heal` heals nothing, no usage can be
measured, and a sandbox is known only to the runtime that started it. All else of the contract holds,
until a test bends it: it may refuse to start, take its time, not die, or not know who lives.
"""

import asyncio
import json
from asyncio import Future
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from salver_server.errors import Broken, NeedsUser
from salver_server.ids import InstallId, SessionId
from salver_server.runtimes import Exit, Launch, Mark, Probe, RuntimeSpec, Site, Usage
from tests.fakes.channel import PATIENCE

NAME = "stage"


class StageSandbox:
    def __init__(self, mark: Mark) -> None:
        self.immortal = False
        """Whether it refuses to die."""
        self.kills = 0
        """How often it was to die."""
        self._mark = mark
        self._exit: Future[Exit] = asyncio.get_running_loop().create_future()
        self._struck = asyncio.Event()

    # What a test tells it, and asks

    def end(self, code: int = 0) -> None:
        """Its runner ends by itself."""
        self._exit.set_result(Exit(cause="ended", code=code, detail=f"It ended with {code}."))

    @property
    def alive(self) -> bool:
        return not self._exit.done()

    async def killed(self, times: int = 1) -> None:
        """Return once it was to die so often."""
        async with asyncio.timeout(PATIENCE):
            while self.kills < times:
                self._struck.clear()
                await self._struck.wait()

    # What the house uses

    @property
    def mark(self) -> Mark:
        return self._mark

    async def ended(self) -> Exit:
        return await asyncio.shield(self._exit)

    async def kill(self) -> None:
        self.kills += 1
        self._struck.set()
        if self.immortal:
            raise Broken("It does not die.")
        if self.alive:
            self._exit.set_result(Exit(cause="killed", code=None, detail="Salver stopped it."))

    async def usage(self) -> Usage:
        return Usage(memory=None, processes=None)


class StageRuntime:
    def __init__(self, install: InstallId) -> None:
        self.refusal: Exception | None = None
        """Raised by the next starts, until it's None again."""
        self.doubt: Broken | None = None
        """Raised whenever it's asked who lives, until it's None again."""
        self.immortal = False
        """Whether what is started from now on refuses to die."""
        self.launches: list[Launch] = []
        """Every start that was asked for, whatever became of it."""
        self.sandboxes: list[StageSandbox] = []
        """Everything that was started, in order."""
        self._install = install
        self._open = asyncio.Event()
        self._open.set()
        self._happened = asyncio.Event()

    # What a test tells it, and asks

    @contextmanager
    def dawdling(self) -> Generator[None]:
        """Starts that are asked for meanwhile go on when the block has ended."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    async def asked(self, times: int = 1) -> Launch:
        """The latest launch, once there have been so many."""
        await self._until(self.launches, times)
        return self.launches[-1]

    async def started(self, times: int = 1) -> StageSandbox:
        """The latest sandbox, once there have been so many."""
        await self._until(self.sandboxes, times)
        return self.sandboxes[-1]

    def of(self, session: SessionId) -> list[StageSandbox]:
        """All that were started for this session."""
        return [sandbox for sandbox in self.sandboxes if sandbox.mark.session == session]

    @property
    def living(self) -> list[StageSandbox]:
        return [sandbox for sandbox in self.sandboxes if sandbox.alive]

    async def _until(self, happened: list[Launch] | list[StageSandbox], times: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(happened) < times:
                self._happened.clear()
                await self._happened.wait()

    # What the house uses

    async def probe(self) -> Probe:
        return Probe(works=True, reason="A stage always works.", fix="")

    async def start(self, launch: Launch) -> StageSandbox:
        self.launches.append(launch)
        self._happened.set()
        for folder in (launch.inbox, launch.outbox, launch.work, launch.home, launch.line):
            if not folder.is_dir():
                raise NeedsUser(f"{folder} does not exist.")
        await asyncio.sleep(0)  # so that it can be cancelled, as any start
        await self._open.wait()
        if self.refusal:
            raise self.refusal
        handle = json.dumps({"install": launch.install, "number": len(self.sandboxes)})
        sandbox = StageSandbox(
            Mark(runtime=NAME, session=launch.session, generation=launch.generation, handle=handle)
        )
        sandbox.immortal = self.immortal
        self.sandboxes.append(sandbox)
        self._happened.set()
        return sandbox

    async def adopt(self, mark: Mark) -> StageSandbox | None:
        if self.doubt:
            raise self.doubt
        try:
            install = json.loads(mark.handle)["install"]
        except (ValueError, KeyError, TypeError) as exc:
            raise Broken(f"The mark of session {mark.session} can't be read.") from exc
        if install != self._install:
            raise Broken(f"Session {mark.session} belongs to another install.")
        return next((sandbox for sandbox in self.living if sandbox.mark == mark), None)

    async def list(self) -> "list[Mark]":
        return [sandbox.mark for sandbox in self.living]


@asynccontextmanager
async def open_stage(site: Site) -> AsyncGenerator[StageRuntime]:
    yield StageRuntime(site.install)


STAGE = RuntimeSpec(name=NAME, title="Stage", open=open_stage)
