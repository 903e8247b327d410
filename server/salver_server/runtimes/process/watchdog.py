"""Stops sandboxes that pass a limit which no kernel feature holds here: disk always, others at need.

One loop looks at processes and memory, one at folders, for all sandboxes together. A sandbox that
does nothing is looked at ever more rarely, up to every two minutes; when this machine suddenly loses
disk or memory, everyone is looked at.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from salver_server.errors import Broken
from salver_server.runtimes import MIB
from salver_server.runtimes.process import disk, logs, procfs
from salver_server.runtimes.process.limits import Plan
from salver_server.runtimes.process.marks import Handle
from salver_server.runtimes.process.procfs import Process

logger = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks at a sandbox that does something."""
SLOWEST = 120.0
"""Seconds between two looks at one that doesn't."""
BRISK, LAZY_TICK = 8.0, 3.0
"""While all are looked at more rarely than the first, the alarm is looked after as rarely as the second."""
LEISURE = 10
"""Walking through folders may take one part in so many of the time."""

LOSS = 512 * MIB
"""Bytes of memory, or of a disk, that may go before everyone is looked at."""
CALM = 5.0
"""Seconds between two such alarms: this machine may be busy with other things than sandboxes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why a sandbox must be stopped."""

    cause: Literal["killed", "memory", "disk"]
    detail: str


@dataclass(slots=True, kw_only=True)
class Watch:
    """What was seen of one sandbox, and when to look again."""

    handle: Handle
    plan: Plan
    due: float = 0.0
    pause: float = TICK / 2
    cpu: int = 0
    stirred: bool = True
    """Whether it has done anything since its folders were measured."""
    walk_due: float = 0.0
    settled: bool = False
    """Whether the alarm knows the file systems that it may fill."""

    def seen(self, cpu: int, now: float) -> bool:
        """Take note of the ticks it has used in all; tells whether it did anything meanwhile."""
        used, self.cpu = abs(cpu - self.cpu), cpu
        # A runner that only waits wakes up at times, too.
        self.pause = TICK if used > 1 else min(self.pause * 2, SLOWEST)
        self.due = now + self.pause
        self.stirred |= used > 0
        return used > 0


class Watched(Protocol):
    @property
    def watch(self) -> Watch: ...

    async def stop(self, verdict: Verdict, /) -> None: ...


Judge = Callable[[Watch, float], Verdict | None]


class Watchdog:
    def __init__(self, live: Callable[[], Sequence[Watched]]) -> None:
        self._live = live
        self._news = asyncio.Event()
        self._stirring = asyncio.Event()
        self._alarm = Alarm()

    def wake(self) -> None:
        """There's one more to watch."""
        self._news.set()

    async def processes(self) -> None:
        while True:
            await self._pause()
            live, now = self._live(), asyncio.get_running_loop().time()
            everyone = await asyncio.to_thread(self._alarm.rings, [it.watch for it in live], now)
            await self._hold_to(glance, [it for it in live if everyone or it.watch.due <= now], now)
            if any(it.watch.stirred for it in live):
                self._stirring.set()

    async def folders(self) -> None:
        while True:
            await self._stirring.wait()
            live, now = self._live(), asyncio.get_running_loop().time()
            stirred = [it for it in live if it.watch.stirred]
            if stirred:
                await self._hold_to(walk, [it for it in stirred if it.watch.walk_due <= now], now)
                await asyncio.sleep(TICK)
            else:
                self._stirring.clear()

    async def _pause(self) -> None:
        live = self._live()
        if not live:
            await self._news.wait()
        elif all(it.watch.pause > BRISK for it in live):
            with suppress(TimeoutError):
                async with asyncio.timeout(LAZY_TICK):
                    await self._news.wait()
        else:
            await asyncio.sleep(TICK)
        self._news.clear()

    async def _hold_to(self, judge: Judge, due: Sequence[Watched], now: float) -> None:
        if not due:
            return
        found = await asyncio.to_thread(verdicts, judge, [it.watch for it in due], now)
        for it, verdict in zip(due, found, strict=True):
            if verdict:
                session = it.watch.handle.label.session
                logger.warning(
                    "sandbox passed a limit", extra={"session": session, "detail": verdict.detail}
                )
                try:
                    await it.stop(verdict)
                except Broken:
                    logger.exception("sandbox does not die", extra={"session": session})


def glance(watch: Watch, now: float) -> Verdict | None:
    """At what its processes use."""
    label = watch.handle.label
    family = procfs.family(watch.handle.pid)
    stirred = watch.seen(sum(one.cpu for one in family), now)
    # A sandbox can forge its label: its log is only what it really prints to.
    if stirred and procfs.prints_to(watch.handle.pid, label.log):
        logs.cut(label.log)
    threads = sum(one.threads for one in family)
    if watch.plan.processes == "watchdog" and threads > label.processes:
        detail = f"It ran {threads} processes at once; {label.processes} are allowed."
        return Verdict(cause="killed", detail=detail)
    if watch.plan.memory == "watchdog" and _overfed(watch.handle.pid, family, label.memory):
        return Verdict(
            cause="memory", detail=f"It used more than its {in_mib(label.memory)} of memory."
        )
    return None


def _overfed(init: int, family: Sequence[Process], limit: int) -> bool:
    scratch = procfs.scratch(init)
    return scratch + procfs.memory(family, most=limit - scratch) > limit


def walk(watch: Watch, now: float) -> Verdict | None:
    """Through the folders that it may fill."""
    label = watch.handle.label
    watch.stirred = False
    began = time.monotonic()
    used = disk.used(label.folders, enough=label.disk)
    watch.walk_due = now + LEISURE * (time.monotonic() - began)
    if used > label.disk:
        detail = f"Its folders take more than their {in_mib(label.disk)} of disk."
        return Verdict(cause="disk", detail=detail)
    return None


class Alarm:
    """Rings when memory or disk went away fast, whoever took it."""

    def __init__(self) -> None:
        self._best: dict[str | int, int] = {}
        self._systems: dict[int, Path] = {}
        """A folder on each file system that sandboxes may fill."""
        self._quiet_until = 0.0

    def rings(self, watches: Sequence[Watch], now: float) -> bool:
        free = self._free(watches)
        best = {what: max(self._best.get(what, 0), left) for what, left in free.items()}
        if now < self._quiet_until or all(best[what] - left < LOSS for what, left in free.items()):
            self._best = best
            return False
        self._best = free
        self._quiet_until = now + CALM
        return True

    def _free(self, watches: Sequence[Watch]) -> dict[str | int, int]:
        """Bytes, by file system and for memory."""
        for watch in watches:
            if not watch.settled:
                watch.settled = True
                self._systems |= _systems(watch.handle.label.folders)
        free: dict[str | int, int] = {}
        for device, folder in [*self._systems.items()]:
            try:
                system = os.statvfs(folder)
            except OSError:
                del self._systems[device]  # gone, until another sandbox brings it back
            else:
                free[device] = system.f_bavail * system.f_frsize
        if any(watch.plan.memory == "watchdog" for watch in watches):
            free["memory"] = procfs.available()
        return free


def _systems(folders: Iterable[Path]) -> dict[int, Path]:
    """One folder for each file system among them."""
    return {folder.stat().st_dev: folder for folder in folders if folder.exists()}


def verdicts(judge: Judge, watches: Sequence[Watch], now: float) -> list[Verdict | None]:
    return [_verdict(judge, watch, now) for watch in watches]


def _verdict(judge: Judge, watch: Watch, now: float) -> Verdict | None:
    try:
        return judge(watch, now)
    except Exception:
        # One that can't be looked at must not hide the others.
        logger.exception("watchdog failed", extra={"session": watch.handle.label.session})
        return None


def in_mib(amount: int) -> str:
    return f"{amount / MIB:,.0f} MiB"
