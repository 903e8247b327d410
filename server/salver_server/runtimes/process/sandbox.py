"""One live sandbox. It ends with its namespace's init, which the kernel lets end last of all."""

import asyncio
import signal
from asyncio import Future, Task, TaskGroup, timeout
from contextlib import suppress

from salver_server.errors import Broken
from salver_server.runtimes import Exit, Mark, Usage
from salver_server.runtimes.process import marks, procfs
from salver_server.runtimes.process.cgroups import Group
from salver_server.runtimes.process.pidfd import Process
from salver_server.runtimes.process.watchdog import Verdict, Watch, in_mib

DYING = 5.0
FAREWELL = 1.0
"""Seconds that the outer bubblewrap has to pass on the runner's exit code."""
SIGNALLED = 128
"""What shells and bubblewrap add to the number of the signal that ended a program."""


class ProcessSandbox:
    def __init__(self, *, watch: Watch, init: Process, outer: Process | None, group: Group) -> None:
        self.watch = watch
        self._mark = marks.mark(watch.handle)
        self._init = init
        self._outer = outer
        self._group = group
        self._verdict: Verdict | None = None
        self._exit: Future[Exit] = asyncio.get_running_loop().create_future()

    @property
    def mark(self) -> Mark:
        return self._mark

    async def ended(self) -> Exit:
        return await asyncio.shield(self._exit)

    async def kill(self) -> None:
        await self.stop(Verdict(cause="killed", detail="Salver stopped it."))

    async def stop(self, verdict: Verdict) -> None:
        if self._exit.done():
            return
        self._verdict = self._verdict or verdict
        self._init.kill()
        try:
            async with timeout(DYING):
                await self.ended()
        except TimeoutError as exc:
            raise Broken(
                f"The sandbox of session {self._mark.session} did not die within {DYING:.0f} s."
            ) from exc

    async def usage(self) -> Usage:
        return await asyncio.to_thread(self._usage)

    async def attended(self, tasks: TaskGroup) -> None:
        """Stay with it until its end, tell those who wait for it, and clear up."""
        farewell = tasks.create_task(self._farewell(), name="process.farewell")
        try:
            await readable(self._init.pidfd)
            code = await self._code(farewell)
            overran = await asyncio.to_thread(self._overran)
            self._exit.set_result(self._end(code, overran=overran))
            await asyncio.to_thread(self._group.remove)
        finally:
            farewell.cancel()
            self._exit.cancel()
            self._init.close()

    async def _farewell(self) -> int | None:
        """What the outer bubblewrap ends with; also when it ends before its sandbox."""
        if self._outer is None:
            return None
        code = None
        try:
            await readable(self._outer.pidfd)
        finally:
            with suppress(ChildProcessError):
                code = self._outer.code()
            self._outer.close()
        return code

    async def _code(self, farewell: Task[int | None]) -> int | None:
        try:
            async with timeout(FAREWELL):
                code = await asyncio.shield(farewell)
        except TimeoutError:
            return None
        if code is None or code < 0:
            return None  # stopped itself, so it tells nothing of the runner
        return code if code <= SIGNALLED else SIGNALLED - code

    def _overran(self) -> bool:
        overran = self._group.overruns() > 0
        # Mostly it goes at once; who waits for the end need not wait for this.
        self._group.remove(within=0)
        return overran

    def _end(self, code: int | None, *, overran: bool) -> Exit:
        if self._verdict:
            return Exit(cause=self._verdict.cause, code=code, detail=self._verdict.detail)
        if overran and code in (None, -signal.SIGKILL):
            limit = in_mib(self.watch.handle.label.memory)
            return Exit(
                cause="memory", code=code, detail=f"It used more than its {limit} of memory."
            )
        return Exit(cause="ended", code=code, detail=_words(code))

    def _usage(self) -> Usage:
        memory, processes = self._group.memory_used(), self._group.processes_used()
        if memory is None or processes is None:
            pid = self.watch.handle.pid
            family = procfs.family(pid)
            memory = procfs.memory(family) + procfs.scratch(pid) if memory is None else memory
            processes = sum(one.threads for one in family) if processes is None else processes
        return Usage(memory=memory, processes=processes)


async def readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _words(code: int | None) -> str:
    if code is None:
        return "It ended; its exit code went to a server that is gone."
    if code == 0:
        return "It ended by itself."
    if code > 0:
        return f"It ended by itself with exit code {code}."
    try:
        return f"It was ended by {signal.Signals(-code).name}."
    except ValueError:
        return f"It was ended by signal {-code}."
