"""Stops sandboxes that pass a limit which no kernel feature holds here: disk always, others at need.

One loop looks at processes and memory, one at folders, for all sandboxes together. A sandbox that
does nothing is looked at ever more rarely, up to once a minute; when this machine suddenly loses
disk or memory, everyone is looked at.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
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
SLOWEST = 60.0
"""Seconds between two looks at one that doesn't."""
LEISURE = 10
"""Walking through folders may take one part in so many of the time."""

LOSS = 256 * MIB
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
    pause: float = TICK
    cpu: int = 0
    stirred: bool = True
    """Whether it has done anything since its folders were measured."""
    walk_due: float = 0.0
    systems: dict[int, Path] = field(default_factory=dict[int, Path])
    """A folder of it on each file system that it may fill."""

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
        self._someone = asyncio.Event()
        self._alarm = Alarm()

    def wake(self) -> None:
        """There's a sandbox to watch."""
        self._someone.set()

    async def processes(self) -> None:
        while True:
            live, now = await self._next_tick()
            everyone = await asyncio.to_thread(self._alarm.rings, [it.watch for it in live], now)
            due = [it for it in live if everyone or it.watch.due <= now]
            await self._hold_to(glance, due, now)

    async def folders(self) -> None:
        while True:
            live, now = await self._next_tick()
            due = [it for it in live if it.watch.stirred and it.watch.walk_due <= now]
            await self._hold_to(walk, due, now)

    async def _next_tick(self) -> tuple[Sequence[Watched], float]:
        await self._someone.wait()
        await asyncio.sleep(TICK)
        live = self._live()
        if not live:
            self._someone.clear()
        return live, asyncio.get_running_loop().time()

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
    if watch.seen(sum(one.cpu for one in family), now):
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
        self._quiet_until = 0.0

    def rings(self, watches: Sequence[Watch], now: float) -> bool:
        free = _free(watches)
        best = {what: max(self._best.get(what, 0), left) for what, left in free.items()}
        if now < self._quiet_until or all(best[what] - left < LOSS for what, left in free.items()):
            self._best = best
            return False
        self._best = free
        self._quiet_until = now + CALM
        return True


def _free(watches: Sequence[Watch]) -> dict[str | int, int]:
    """Bytes, by file system and for memory."""
    free: dict[str | int, int] = {}
    for watch in watches:
        watch.systems = watch.systems or _systems(watch.handle.label.folders)
        for device, folder in watch.systems.items():
            if device not in free:
                system = os.statvfs(folder)
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
