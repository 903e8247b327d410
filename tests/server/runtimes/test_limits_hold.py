"""Every limit, passed by a program inside a real sandbox."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from salver_server.runtimes import MIB, Exit, Launch, Limits, Runtime
from salver_server.runtimes.process import logs, open_process
from tests.fakes.yard import Yard, report, until
from tests.server.runtimes.conftest import end_all

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

BOMB = """
import os, time
born = 0
while born < 2000:
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
    except BlockingIOError:
        report(born=born)
        time.sleep(30)
    born += 1
report(born=born)
time.sleep(30)
"""

GLUTTON = """
import os, signal
hoard = []
def eat():
    while True:
        hoard.append(os.urandom(1 << 20) * 4)
"""


async def ends(runtime: Runtime, launch: Launch) -> Exit:
    sandbox = await runtime.start(launch)
    async with asyncio.timeout(15):
        return await sandbox.ended()


@pytest.fixture(params=[True, False], ids=["cgroups", "no cgroups"])
async def either(request: pytest.FixtureRequest, yard: Yard) -> AsyncIterator[Runtime]:
    async with open_process(yard.site, cgroups=request.param) as runtime:
        yield runtime
        await end_all(runtime)


async def test_processes_stop_at_their_limit(either: Runtime, yard: Yard) -> None:
    launch = yard.launch(BOMB, limits=Limits(processes=40))
    sandbox = await either.start(launch)
    if (await either.probe()).held_by["processes"] == "watchdog":
        end = await sandbox.ended()
        assert end.cause == "killed"
        assert "40" in end.detail
    else:
        assert 30 <= (await report(launch))["born"] < 40
        # A neighbour has processes of his own.
        neighbour = yard.launch("report(born=__import__('os').fork() >= 0)", session="s-2")
        await either.start(neighbour)
        assert await report(neighbour) == {"born": True}


async def test_threads_count_as_processes_do(runtime: Runtime, yard: Yard) -> None:
    script = """
import threading
gate, born = threading.Event(), 0
try:
    while born < 1000:
        threading.Thread(target=gate.wait, daemon=True).start()
        born += 1
except RuntimeError:
    pass
report(born=born)
"""
    held_by = (await runtime.probe()).held_by["processes"]
    if held_by == "watchdog":
        pytest.skip("nothing holds threads here")
    launch = yard.launch(script, limits=Limits(processes=20))
    await runtime.start(launch)
    assert (await report(launch))["born"] < 20


async def test_one_process_that_takes_too_much_memory_goes(either: Runtime, yard: Yard) -> None:
    end = await ends(either, yard.launch(GLUTTON + "eat()", limits=Limits(memory=64 * MIB)))
    if (await either.probe()).held_by["memory"].startswith("cgroup"):
        assert end.cause == "memory"
        assert "64 MiB" in end.detail
    else:
        # Refused more, it ends of a MemoryError, unless the watchdog comes first.
        assert (end.cause, end.code) in {("ended", 1), ("memory", -9)}


async def test_many_processes_may_not_take_more_memory_together(
    either: Runtime, yard: Yard
) -> None:
    script = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        ballast = os.urandom(1 << 20) * 24
        time.sleep(30)
        os._exit(0)
try:
    os.wait()
    os.kill(os.getpid(), 9)  # as the kernel would, had it chosen this process
finally:
    pass
"""
    end = await ends(either, yard.launch(script, limits=Limits(memory=100 * MIB)))
    assert end.cause == "memory"
    assert "100 MiB" in end.detail


async def test_memory_that_is_shared_counts_once(plain_runtime: Runtime, yard: Yard) -> None:
    script = """
import os, time
ballast = os.urandom(1 << 20) * 40
for _ in range(5):
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)
busy = time.monotonic() + 2.5
while time.monotonic() < busy: pass
report(survived=True)
"""
    launch = yard.launch(script, limits=Limits(memory=100 * MIB))
    await plain_runtime.start(launch)
    assert await report(launch) == {"survived": True}


async def test_files_in_memory_count_as_memory(either: Runtime, yard: Yard) -> None:
    script = """
import os, time
with open("/dev/shm/ballast", "wb") as file:
    for _ in range(90):
        file.write(os.urandom(1 << 20))
time.sleep(30)
"""
    limits = Limits(memory=60 * MIB, tmp=200 * MIB)
    end = await ends(either, yard.launch(script, limits=limits))
    assert end.cause == "memory"


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm", "/run"])
async def test_scratch_space_is_as_large_as_it_may_be(
    runtime: Runtime, yard: Yard, place: str
) -> None:
    script = f"""
written = 0
try:
    with open("{place}/big", "wb", buffering=0) as file:
        while written < 100:
            file.write(bytes(1 << 20))
            written += 1
except OSError as exc:
    report(error=exc.strerror, written=written)
"""
    launch = yard.launch(script, limits=Limits(tmp=16 * MIB))
    await runtime.start(launch)
    found = await report(launch)
    assert found["error"] == "No space left on device"
    assert found["written"] <= 16


async def test_no_file_grows_past_its_limit(runtime: Runtime, yard: Yard) -> None:
    script = """
import os
try:
    with open("/workspace/big", "wb", buffering=0) as file:
        for _ in range(10):
            file.write(bytes(1 << 20))
except OSError as exc:
    report(error=exc.strerror, size=os.path.getsize("/workspace/big"))
"""
    launch = yard.launch(script, limits=Limits(file=4 * MIB))
    await runtime.start(launch)
    assert await report(launch) == {"error": "File too large", "size": 4 * MIB}


async def test_folders_that_outgrow_the_disk_limit_stop_the_sandbox(
    runtime: Runtime, yard: Yard
) -> None:
    script = """
import os, time
for number, place in enumerate(["/workspace", "/salver/home", "/salver/out"] * 3):
    with open(f"{place}/{number}", "wb") as file:
        file.write(bytes(4 << 20))
time.sleep(30)
"""
    launch = yard.launch(script, limits=Limits(disk=20 * MIB))
    end = await ends(runtime, launch)
    assert end.cause == "disk"
    assert "20 MiB" in end.detail


async def test_an_adopted_sandbox_is_held_to_its_limits(yard: Yard) -> None:
    script = """
import time
while not (root / "in" / "go").exists(): time.sleep(0.01)
open("/workspace/big", "wb").write(bytes(8 << 20))
time.sleep(30)
"""
    launch = yard.launch(script, limits=Limits(disk=4 * MIB))
    async with open_process(yard.site) as first:
        await first.start(launch)
    async with open_process(yard.site) as second:
        # Found by its label alone, as if no database knew of it.
        (mark,) = await second.list()
        sandbox = await second.adopt(mark)
        assert sandbox
        (launch.inbox / "go").touch()
        async with asyncio.timeout(15):
            assert (await sandbox.ended()).cause == "disk"


async def test_a_chatterbox_does_not_fill_the_disk_with_its_log(
    runtime: Runtime, yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST", 1 * MIB)
    launch = yard.launch(
        "import time\nfor n in range(10**9):\n    print(f'{n:9}' * 100)\n    time.sleep(0.00001)",
        limits=Limits(file=64 * MIB),
    )
    sandbox = await runtime.start(launch)
    aside = launch.log.with_name("launch.log.1")
    await until(aside.exists)
    await sandbox.kill()
    assert aside.stat().st_size == logs.TAIL
    assert launch.log.stat().st_size < 64 * MIB


async def test_no_core_is_dumped_and_open_files_have_an_end(runtime: Runtime, yard: Yard) -> None:
    script = """
import resource
report(core=resource.getrlimit(resource.RLIMIT_CORE), files=resource.getrlimit(resource.RLIMIT_NOFILE)[1])
"""
    launch = yard.launch(script)
    await runtime.start(launch)
    found = await report(launch)
    assert found["core"] == [0, 0]
    assert 256 <= found["files"] <= 4096
