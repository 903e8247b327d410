"""Whom the watchdog looks at, and when."""

import logging
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from salver_server.ids import InstallId, SessionId
from salver_server.runtimes import MIB
from salver_server.runtimes.process import watchdog
from salver_server.runtimes.process.limits import Plan
from salver_server.runtimes.process.marks import Handle, Label
from salver_server.runtimes.process.watchdog import (
    CALM,
    LOSS,
    SLOWEST,
    TICK,
    Alarm,
    Watch,
    glance,
    walk,
)

KERNEL_HOLDS = Plan(memory="cgroup v2", processes="cgroup v2")
WE_HOLD = Plan(memory="watchdog", processes="watchdog")
PLENTY = 1 << 50


def watch(
    place: Path,
    *,
    plan: Plan = WE_HOLD,
    memory: int = PLENTY,
    processes: int = 10**6,
    disk: int = PLENTY,
) -> Watch:
    """Of this very process, as if it were a sandbox's init."""
    label = Label(
        install=InstallId("house"),
        session=SessionId("s-1"),
        generation=1,
        memory=memory,
        processes=processes,
        disk=disk,
        folders=(place,),
        log=place / "log",
    )
    return Watch(handle=Handle(boot="", pid=os.getpid(), started=0, label=label), plan=plan)


def test_who_does_nothing_is_looked_at_ever_more_rarely(tmp_path: Path) -> None:
    it = watch(tmp_path)
    it.seen(5, 0.0)
    pauses: list[float] = []
    for now in range(10):
        assert not it.seen(5, float(now))
        pauses.append(it.due - now)
    assert pauses == [2, 4, 8, 16, 32, 64, SLOWEST, SLOWEST, SLOWEST, SLOWEST]
    assert it.seen(50, 100.0)
    assert it.due == 100.0 + TICK


def test_who_barely_stirs_is_looked_at_rarely_but_not_forgotten(tmp_path: Path) -> None:
    it = watch(tmp_path)
    it.seen(5, 0.0)
    it.stirred = False
    assert it.seen(6, 1.0)
    assert it.pause > TICK
    assert it.stirred


def test_a_limit_that_the_kernel_holds_is_not_held_twice(tmp_path: Path) -> None:
    assert glance(watch(tmp_path, plan=KERNEL_HOLDS, memory=1, processes=0), 0.0) is None


def test_too_many_processes_are_seen(tmp_path: Path) -> None:
    assert glance(watch(tmp_path), 0.0) is None
    verdict = glance(watch(tmp_path, processes=0), 0.0)
    assert verdict
    assert (verdict.cause, "0 are allowed" in verdict.detail) == ("killed", True)


def test_too_much_memory_is_seen(tmp_path: Path) -> None:
    verdict = glance(watch(tmp_path, memory=MIB), 0.0)
    assert verdict
    assert (verdict.cause, verdict.detail) == ("memory", "It used more than its 1 MiB of memory.")


def test_a_walk_is_needed_only_after_a_stir(tmp_path: Path) -> None:
    it = watch(tmp_path)
    assert it.stirred
    assert walk(it, 5.0) is None
    assert not it.stirred
    assert it.walk_due >= 5.0


def test_full_folders_are_seen(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(2 * MIB))
    verdict = walk(watch(tmp_path, disk=MIB), 0.0)
    assert verdict
    assert verdict.cause == "disk"
    assert verdict.detail == "Its folders take more than their 1 MiB of disk."


class Statvfs(NamedTuple):
    f_bavail: int
    f_frsize: int = 1


class Disk:
    """A file system whose free space the test decides on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 100 * LOSS
        monkeypatch.setattr(os, "statvfs", self.statvfs)

    def statvfs(self, _: Path) -> Statvfs:
        return Statvfs(self.free)


def test_a_sudden_loss_rings_the_alarm_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, alarm = Disk(monkeypatch), Alarm()
    watches = [watch(tmp_path, plan=KERNEL_HOLDS)]
    assert not alarm.rings(watches, 0.0)
    disk.free -= LOSS - 1
    assert not alarm.rings(watches, 1.0)
    disk.free -= 1
    assert alarm.rings(watches, 2.0)
    assert not alarm.rings(watches, 3.0)


def test_a_slow_loss_rings_it_too_and_a_gain_is_taken_as_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, alarm = Disk(monkeypatch), Alarm()
    watches = [watch(tmp_path, plan=KERNEL_HOLDS)]
    disk.free += LOSS
    rang: list[bool] = []
    for now in range(8):
        rang.append(alarm.rings(watches, float(now)))
        disk.free -= LOSS // 4
    assert rang == [False, False, False, False, True, False, False, False]


def test_it_does_not_ring_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, alarm = Disk(monkeypatch), Alarm()
    watches = [watch(tmp_path, plan=KERNEL_HOLDS)]
    alarm.rings(watches, 0.0)
    rang: list[float] = []
    for now in range(1, 20):
        disk.free -= LOSS
        if alarm.rings(watches, float(now)):
            rang.append(now)
    assert rang == [1, 1 + CALM, 1 + 2 * CALM, 1 + 3 * CALM]


def test_one_that_cannot_be_looked_at_hides_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def judge(it: Watch, now: float) -> watchdog.Verdict | None:
        if it is bad:
            raise OSError(now)
        return glance(it, now)

    bad, good = watch(tmp_path), watch(tmp_path, processes=0)
    with caplog.at_level(logging.ERROR):
        verdicts = watchdog.verdicts(judge, [bad, good], 0.0)
    assert verdicts[0] is None
    assert verdicts[1]
    assert "watchdog failed" in caplog.text
