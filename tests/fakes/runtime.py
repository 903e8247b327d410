"""FakeRuntime: the real runner as a plain program, without a sandbox around it.

Keeps every promise of the contract but isolation and limits. What it started is remembered in this
process, so that a second FakeRuntime can adopt it, as after a restart of the server.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from asyncio import Future, Task, TaskGroup
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen

import psutil

from salver_server.errors import Broken, NeedsUser, SalverError
from salver_server.ids import InstallId
from salver_server.runtimes import (
    Exit,
    Launch,
    Mark,
    Probe,
    RuntimeSpec,
    Site,
    Usage,
)

NAME = "fake"
TAG = "SALVER_FAKE_RUNTIME"
"""An environment variable that every process of a fake sandbox inherits."""

BOOT = (
    "import pathlib, sys; root = pathlib.Path(sys.argv.pop()); "
    "sys.path.insert(0, str(root / 'source')); "
    "from salver_runner.__main__ import main; sys.exit(main(root))"
)


@dataclass(slots=True, kw_only=True)
class Running:
    """One fake sandbox, known to every FakeRuntime of this process."""

    install: InstallId
    mark: Mark
    program: Popen[bytes]
    root: Path
    killed: bool = False


RUNNING: dict[str, Running] = {}
"""By the handle of its mark."""


class FakeSandbox:
    def __init__(self, running: Running) -> None:
        self._running = running
        # While it's sure to be there: who asks for a program's end also takes it off the list.
        self._pidfd = os.pidfd_open(running.program.pid)
        self._exit: Future[Exit] = asyncio.get_running_loop().create_future()

    @property
    def mark(self) -> Mark:
        return self._running.mark

    async def ended(self) -> Exit:
        return await asyncio.shield(self._exit)

    async def kill(self) -> None:
        if not self._exit.done():
            self._running.killed = True
            # By itself, since right after its start it carries no tag yet.
            self._running.program.kill()
            _kill_all(self.mark.handle)
            await self.ended()

    async def usage(self) -> Usage:
        family = _tagged(self.mark.handle)
        memory = 0
        for process in family:
            with contextlib.suppress(psutil.Error):
                memory += process.memory_info().rss
        return Usage(memory=memory, processes=len(family))

    async def attended(self) -> None:
        running = self._running
        await _ended(self._pidfd)
        code = running.program.wait()
        # As in a sandbox: what the runner left behind ends with it.
        _kill_all(self.mark.handle)
        shutil.rmtree(running.root, ignore_errors=True)
        cause, detail = (
            ("killed", "Salver stopped it.") if running.killed else ("ended", "It ended.")
        )
        self._exit.set_result(Exit(cause=cause, code=code, detail=detail))


class FakeRuntime:
    def __init__(self, site: Site, tasks: TaskGroup) -> None:
        self.started: list[Launch] = []
        """Every launch, in order."""
        self.refusal: SalverError | None = None
        """Raised by the next starts, until it's None again."""
        self._site = site
        self._tasks = tasks
        self._attending: set[Task[None]] = set()

    async def probe(self) -> Probe:
        return Probe(works=True, reason="A fake always works.", fix="")

    async def start(self, launch: Launch) -> FakeSandbox:
        if self.refusal:
            raise self.refusal
        for folder in (launch.inbox, launch.outbox, launch.work, launch.home, launch.line):
            if not folder.is_dir():
                raise NeedsUser(f"{folder} does not exist.")
        await asyncio.sleep(0)  # so that it can be cancelled, as any start
        self.started.append(launch)
        return self._attend(self._run(launch))

    async def adopt(self, mark: Mark) -> FakeSandbox | None:
        try:
            install = json.loads(mark.handle)["install"]
        except (ValueError, KeyError, TypeError) as exc:
            raise Broken(f"The mark of session {mark.session} can't be read.") from exc
        if install != self._site.install:
            raise Broken(f"Session {mark.session} belongs to another install.")
        running = RUNNING.get(mark.handle)
        if running is None or running.program.poll() is not None:
            return None
        return self._attend(running)

    async def list(self) -> "list[Mark]":
        return [
            it.mark
            for it in RUNNING.values()
            if it.install == self._site.install and it.program.poll() is None
        ]

    def leave(self) -> None:
        for task in self._attending:
            task.cancel()

    def _run(self, launch: Launch) -> Running:
        root = self._rooted(launch)
        tag = json.dumps({"install": launch.install, "root": root.name})
        with launch.log.open("ab") as log:
            program = Popen(
                [sys.executable, "-I", "-S", "-c", BOOT, launch.task, str(root)],
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                cwd=launch.work,
                env={
                    "PATH": "/usr/local/bin:/usr/bin:/bin",
                    "HOME": str(launch.home),
                    "LANG": "C.UTF-8",
                    TAG: tag,
                    **launch.environment,
                },
                start_new_session=True,
            )
        mark = Mark(runtime=NAME, session=launch.session, generation=launch.generation, handle=tag)
        RUNNING[tag] = Running(install=launch.install, mark=mark, program=program, root=root)
        return RUNNING[tag]

    def _rooted(self, launch: Launch) -> Path:
        """A folder that looks to the runner as /salver does in a sandbox."""
        root = Path(tempfile.mkdtemp(prefix="salver-fake-"))
        places = {
            "in": launch.inbox,
            "out": launch.outbox,
            "home": launch.home,
            "line": launch.line,
            "source": self._site.source,
            **{f"packs/{name}": folder for name, folder in launch.packs.items()},
            **{f"skills/{name}": folder for name, folder in launch.skills.items()},
        }
        (root / "packs").mkdir()
        (root / "skills").mkdir()
        for name, folder in places.items():
            (root / name).symlink_to(folder)
        return root

    def _attend(self, running: Running) -> FakeSandbox:
        sandbox = FakeSandbox(running)
        task = self._tasks.create_task(sandbox.attended(), name="fake.attend")
        self._attending.add(task)
        task.add_done_callback(self._attending.discard)
        return sandbox


@asynccontextmanager
async def open_fake(site: Site) -> AsyncGenerator[FakeRuntime]:
    async with TaskGroup() as tasks:
        runtime = FakeRuntime(site, tasks)
        try:
            yield runtime
        finally:
            runtime.leave()


FAKE = RuntimeSpec(name=NAME, title="Fake", open=open_fake)


async def _ended(pidfd: int) -> None:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(pidfd, lambda: ended.done() or ended.set_result(None))
    try:
        await ended
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def _kill_all(tag: str) -> None:
    while family := _tagged(tag):
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        time.sleep(0.001)


def _tagged(tag: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(TAG) == tag and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
