"""What can go wrong while a sandbox starts, and what is left then."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from salver_server.errors import NeedsUser, SalverError, Transient
from salver_server.runtimes import Runtime
from salver_server.runtimes.process import marks, procfs, spawn
from tests.fakes.yard import Yard, report, until

pytestmark = pytest.mark.sandbox

FOR_EVER = "import signal; report(); signal.pause()"
Pose = Callable[[str], None]
Children = Callable[[], list[int]]


@pytest.fixture
def pose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pose:
    """Put a script in bubblewrap's place."""

    def pose(script: str) -> None:
        bwrap = tmp_path / "bin" / "bwrap"
        bwrap.parent.mkdir()
        bwrap.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        bwrap.chmod(0o755)
        monkeypatch.setenv("PATH", str(bwrap.parent))

    return pose


@pytest.fixture
def children() -> Children:
    """Processes of ours that came after this, dead ones included."""
    before = {child.pid for child in psutil.Process().children()}
    return lambda: [one.pid for one in psutil.Process().children() if one.pid not in before]


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (
            "echo 'bwrap: Creating new namespace failed: Operation not permitted' >&2; exit 1",
            NeedsUser,
            "Creating new namespace failed",
        ),
        (
            "echo 'bwrap: Forking failed: Resource temporarily unavailable' >&2; exit 1",
            Transient,
            "Resource temporarily unavailable",
        ),
        ("kill -9 $$", Transient, "was stopped"),
        ("exit 0", Transient, "was stopped"),
    ],
    ids=["forbidden", "short of something", "struck down", "said nothing"],
)
async def test_bubblewraps_own_words_are_passed_on(
    pose: Pose,
    runtime: Runtime,
    yard: Yard,
    children: Children,
    script: str,
    error: type[SalverError],
    words: str,
) -> None:
    pose(script)
    with pytest.raises(error, match=words):
        await runtime.start(yard.launch(FOR_EVER))
    assert children() == []


async def test_without_bubblewrap_one_is_told_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, runtime: Runtime, yard: Yard
) -> None:
    monkeypatch.setenv("PATH", str(yard.place))
    with pytest.raises(NeedsUser, match="sudo apt install bubblewrap"):
        await runtime.start(yard.launch(FOR_EVER))


async def test_what_a_dead_bubblewrap_leaves_is_found_and_ended(
    pose: Pose, runtime: Runtime, yard: Yard
) -> None:
    pose(
        """
        /usr/bin/unshare --user --pid --fork /bin/sh -c '/bin/sleep 60; exit' sh "$@" &
        /bin/sleep 0.1
        kill -9 $$
        """
    )
    with pytest.raises(Transient, match="was stopped"):
        await runtime.start(yard.launch(FOR_EVER))
    assert await runtime.list() == []


async def test_a_bubblewrap_that_hangs_is_given_up(
    pose: Pose,
    runtime: Runtime,
    yard: Yard,
    children: Children,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spawn, "PATIENCE", 0.1)
    pose("exec /bin/sleep 60")
    with pytest.raises(Transient, match="took longer"):
        await runtime.start(yard.launch(FOR_EVER))
    assert children() == []


async def test_a_workspace_that_cannot_be_entered_is_named(runtime: Runtime, yard: Yard) -> None:
    launch = yard.launch(FOR_EVER)
    os.chmod(launch.work, 0)  # noqa: PTH101  a folder of this machine's
    if os.geteuid() == 0:
        os.chown(launch.work, 0, 0)
    with pytest.raises(NeedsUser, match="cd to /workspace"):
        await runtime.start(launch)
    assert await runtime.list() == []
    launch.work.chmod(0o700)


async def test_the_runner_waits_until_its_limits_are_on(
    runtime: Runtime, yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = yard.launch("report(ran=True)")

    def lose_heart(spawned: spawn.Spawned) -> None:
        spawned.gate.close()

    monkeypatch.setattr(spawn.Spawned, "let_go", lose_heart)
    sandbox = await runtime.start(launch)
    assert (await sandbox.ended()).code == 78
    assert not (launch.outbox / "report.json").exists()


async def test_the_outer_bubblewrap_may_die_without_harm(
    runtime: Runtime, yard: Yard, children: Children
) -> None:
    launch = yard.launch(
        "import time\nreport()\nwhile True: (root / 'out' / 'beat').touch(); time.sleep(0.005)"
    )
    sandbox = await runtime.start(launch)
    await report(launch)
    init = procfs.process(marks.handle(sandbox.mark).pid)
    assert init
    os.kill(init.parent, signal.SIGKILL)
    await until(lambda: children() == [])
    beat = launch.outbox / "beat"
    before = beat.stat().st_mtime_ns
    await until(lambda: beat.stat().st_mtime_ns > before)
    assert await runtime.list() == [sandbox.mark]
    await sandbox.kill()
    assert (await sandbox.ended()).code is None


async def test_neither_processes_nor_descriptors_pile_up(
    runtime: Runtime, yard: Yard, children: Children
) -> None:
    async def cycle(number: int) -> None:
        sandbox = await runtime.start(yard.launch("", session=f"s-{number}"))
        await sandbox.ended()

    await cycle(0)
    before = descriptors()
    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(cycle(number))
    await until(lambda: descriptors() <= before)
    assert children() == []


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])
