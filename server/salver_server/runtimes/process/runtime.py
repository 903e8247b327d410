"""The process runtime of one install: starts sandboxes, finds them again, keeps them within limits."""

import asyncio
import os
from asyncio import CancelledError, Future, Task, TaskGroup
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from salver_server.clock import SystemClock
from salver_server.errors import Broken
from salver_server.runtimes import Launch, Mark, Probe, Sandbox, Site
from salver_server.runtimes.process import census, marks, procfs, seccomp
from salver_server.runtimes.process.adoption import Found, found
from salver_server.runtimes.process.cgroups import NOWHERE, Group, find, named, sweep
from salver_server.runtimes.process.limits import plan
from salver_server.runtimes.process.machine import here
from salver_server.runtimes.process.marks import Handle
from salver_server.runtimes.process.pidfd import Process
from salver_server.runtimes.process.probe import tried
from salver_server.runtimes.process.sandbox import ProcessSandbox
from salver_server.runtimes.process.spawn import Means, Spawned, spawn
from salver_server.runtimes.process.watchdog import Watch, Watchdog

Made = TypeVar("Made")


@asynccontextmanager
async def opened(site: Site, *, cgroups: bool, filtered: bool) -> AsyncGenerator["ProcessRuntime"]:
    means = await asyncio.to_thread(_means, cgroups=cgroups, filtered=filtered)
    await asyncio.to_thread(sweep, means.places, SystemClock().now())
    async with TaskGroup() as tasks:
        runtime = ProcessRuntime(site, means, tasks)
        try:
            yield runtime
        finally:
            runtime.leave()


class ProcessRuntime:
    def __init__(self, site: Site, means: Means, tasks: TaskGroup) -> None:
        self._site = site
        self._means = means
        self._tasks = tasks
        self._live: dict[tuple[int, int], ProcessSandbox] = {}
        self._watchdog = Watchdog(lambda: [*self._live.values()])
        self._own: set[Task[None]] = {
            tasks.create_task(self._watchdog.processes(), name="process.watch processes"),
            tasks.create_task(self._watchdog.folders(), name="process.watch folders"),
        }

    async def probe(self) -> Probe:
        return await asyncio.to_thread(tried, self._site, self._means)

    async def start(self, launch: Launch) -> Sandbox:
        spawned = await completed(lambda: self._spawn(launch), undo=Spawned.discard)
        spawned.let_go()
        return self._attend(spawned.handle, spawned.init, spawned.outer, spawned.group)

    async def adopt(self, mark: Mark) -> Sandbox | None:
        handle = marks.handle(mark)
        if handle.label.install != self._site.install:
            raise Broken(f"The sandbox of session {mark.session} belongs to another install.")
        if handle.boot != self._means.boot:
            return None
        whom = await completed(lambda: found(handle), undo=_let_be)
        if whom is None:
            return None
        if known := self._live.get((handle.pid, handle.started)):
            whom.close()
            return known
        group = named(self._means.places, handle.label)
        return self._attend(handle, whom.init, whom.outer, group)

    async def list(self) -> "list[Mark]":
        seen = await asyncio.to_thread(self._seen)
        known = {key: it.mark for key, it in self._live.items()}
        return [known.get((it.pid, it.started)) or marks.mark(it) for it in seen]

    def leave(self) -> None:
        """End what runs in this server; sandboxes live on."""
        for task in self._own:
            task.cancel()

    def _spawn(self, launch: Launch) -> Spawned:
        return spawn(self._means, here(self._site), launch)

    def _attend(
        self, handle: Handle, init: Process, outer: Process | None, group: Group
    ) -> ProcessSandbox:
        watch = Watch(handle=handle, plan=self._means.plan)
        sandbox = ProcessSandbox(watch=watch, init=init, outer=outer, group=group)
        key = (handle.pid, handle.started)
        self._live[key] = sandbox
        self._watchdog.wake()
        task = self._tasks.create_task(
            sandbox.attended(self._tasks), name=f"process.attend {handle.label.session}"
        )
        self._own.add(task)
        task.add_done_callback(self._own.discard)
        task.add_done_callback(lambda _: self._live.pop(key, None))
        return sandbox

    def _seen(self) -> "list[Handle]":
        return [
            Handle(boot=self._means.boot, pid=one.pid, started=one.started, label=label)
            for one, label in census.labelled()
            if label.install == self._site.install
        ]


async def completed(work: Callable[[], Made], *, undo: Callable[[Made], None]) -> Made:
    """Blocking work in a thread, which can't be stopped: a caller that is cancelled has it undone."""
    loop = asyncio.get_running_loop()
    working = loop.run_in_executor(None, work)
    try:
        return await asyncio.shield(working)
    except CancelledError:
        await _insisted(working)
        if not working.exception():
            await _insisted(loop.run_in_executor(None, undo, working.result()))
        raise


def _let_be(whom: Found | None) -> None:
    if whom:
        whom.close()


async def _insisted(future: Future[Made] | Future[None]) -> None:
    while not future.done():
        with suppress(CancelledError):
            await asyncio.wait([future])


def _means(*, cgroups: bool, filtered: bool) -> Means:
    by_root = os.geteuid() == 0
    places = NOWHERE
    if cgroups:
        own, mounts = Path("/proc/self/cgroup"), Path("/proc/self/mountinfo")
        places = find(own.read_text(encoding="utf-8"), mounts.read_text(encoding="utf-8"))
    kind = seccomp.MACHINES.get(os.uname().machine) if filtered else None
    return Means(
        places=places,
        plan=plan(places, own_namespace=not by_root, kernel=os.uname().release),
        filter=seccomp.program(kind) if kind else None,
        boot=procfs.boot(),
    )
