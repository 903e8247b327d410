"""Sandboxes outlive their server, whatever becomes of it, and the next one finds them."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from salver_server.errors import Broken
from salver_server.runtimes import Mark, Runtime
from salver_server.runtimes.process import marks, open_process, procfs
from tests.fakes.yard import Yard, report, until
from tests.server.runtimes.conftest import end_all

pytestmark = pytest.mark.sandbox

FOR_EVER = "import signal; report(); signal.pause()"

SERVER = """
import asyncio, dataclasses, json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from salver_server.runtimes.process import open_process
from tests.fakes.yard import Yard

async def serve(place):
    yard = Yard(place.parent, install=place.name)
    async with open_process(yard.site) as runtime:
        print("open", flush=True)
        sandbox = await runtime.start(yard.launch(sys.argv[3]))
        print(json.dumps(dataclasses.asdict(sandbox.mark)), flush=True)
        await sandbox.ended()

asyncio.run(serve(Path(sys.argv[2])))
"""


@asynccontextmanager
async def server(yard: Yard, script: str) -> AsyncGenerator[Process]:
    """Another server of the same install, killed at the end without a chance to tidy up."""
    paths = json.dumps([path for path in sys.path if path])
    argv = [sys.executable, "-c", SERVER, paths, str(yard.place), script]
    process = await create_subprocess_exec(*argv, stdout=PIPE)
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def said(process: Process) -> str:
    assert process.stdout
    return (await process.stdout.readline()).decode()


async def test_a_sandbox_outlives_a_server_that_is_killed(runtime: Runtime, yard: Yard) -> None:
    launch = yard.launch("")
    async with server(yard, FOR_EVER) as other:
        await said(other)
        mark = Mark(**json.loads(await said(other)))
        await report(launch)
    assert await runtime.list() == [mark]
    sandbox = await runtime.adopt(mark)
    assert sandbox
    usage = await sandbox.usage()
    assert usage.memory
    await sandbox.kill()
    end = await sandbox.ended()
    assert (end.cause, end.code) == ("killed", None)
    assert await runtime.adopt(mark) is None


async def test_its_exit_code_is_lost_with_its_server(runtime: Runtime, yard: Yard) -> None:
    script = """
import time
report()
while not (root / "in" / "go").exists(): time.sleep(0.005)
raise SystemExit(3)
"""
    launch = yard.launch("")
    async with server(yard, script) as other:
        await said(other)
        mark = Mark(**json.loads(await said(other)))
        await report(launch)
    sandbox = await runtime.adopt(mark)
    assert sandbox
    (launch.inbox / "go").touch()
    end = await sandbox.ended()
    assert (end.cause, end.code) == ("ended", None)
    assert end.detail


@pytest.mark.parametrize("milliseconds", range(0, 21, 3))
async def test_a_server_killed_while_it_starts_one_leaves_a_whole_one_or_none(
    runtime: Runtime, yard: Yard, milliseconds: int
) -> None:
    launch = yard.launch("")
    async with server(yard, FOR_EVER) as other:
        await said(other)
        await asyncio.sleep(milliseconds / 1000)
    # Either the word to go was given, or its shell finds that nobody is there to give it.
    reported = launch.outbox / "report.json"
    async with asyncio.timeout(20):
        while named_on_command_lines(yard.place):
            if reported.exists():
                await end_all(runtime)
            await asyncio.sleep(0.01)
    assert await runtime.list() == []


def named_on_command_lines(place: Path) -> list[int]:
    """Processes of any sandbox below this place, bubblewrap's own included."""
    lines = {it.pid: it.info["cmdline"] for it in psutil.process_iter(["cmdline"])}
    return [pid for pid, line in lines.items() if str(place) in " ".join(line or ())]


@pytest.mark.parametrize(
    "changed",
    [{"started": 1}, {"boot": "another"}, {"pid": os.getpid()}, {"pid": 2**22 - 1}],
    ids=["a later process", "another boot", "somebody else", "nobody"],
)
async def test_a_pid_that_came_again_is_not_taken_for_it(
    runtime: Runtime, yard: Yard, changed: Mapping[str, Any]
) -> None:
    sandbox = await runtime.start(yard.launch(FOR_EVER))
    mark = marks.mark(replace(marks.handle(sandbox.mark), **changed))
    assert await runtime.adopt(mark) is None
    assert await runtime.list() == [sandbox.mark]


OVERWRITE = """
def overwrite(change):
    words = open("/proc/1/cmdline", "rb").read().split(b"\\0")
    label = next(word for word in words if word.startswith(b"salver-sandbox:"))
    start, end = map(int, open("/proc/1/stat").read().rpartition(")")[2].split()[45:47])
    with open("/proc/1/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        at = memory.read(end - start).index(label)
        memory.seek(start + at)
        memory.write(change(label).ljust(len(label)))
    return open("/proc/1/cmdline", "rb").read().decode()
try:
    seen = overwrite(CHANGE)
    report(done=True)
except PermissionError:
    report(done=False)
import signal
signal.pause()
"""


@pytest.mark.parametrize(
    "change",
    ["lambda label: b''", "lambda label: label.replace(b's-1', b's-2')"],
    ids=["hides", "poses as another"],
)
async def test_a_sandbox_that_rewrites_its_label_is_known_all_the_same(
    runtime: Runtime, yard: Yard, change: str
) -> None:
    launch = yard.launch(OVERWRITE.replace("CHANGE", change))
    sandbox = await runtime.start(launch)
    if not (await report(launch))["done"]:
        pytest.skip("this kernel lets nobody write there")
    async with open_process(yard.site) as newcomer:
        assert await newcomer.list() == [sandbox.mark]


async def test_what_only_a_sandbox_says_of_itself_leads_to_no_file(
    runtime: Runtime, yard: Yard
) -> None:
    launch = yard.launch(FOR_EVER)
    sandbox = await runtime.start(launch)
    await report(launch)
    init = procfs.process(marks.handle(sandbox.mark).pid)
    assert init
    os.kill(init.parent, signal.SIGKILL)
    await until(lambda: (one := procfs.process(init.pid)) is not None and one.parent != init.parent)
    async with open_process(yard.site) as newcomer:
        (mark,) = await newcomer.list()
        assert (mark.session, mark.generation) == ("s-1", 1)
        label = marks.handle(mark).label
        assert (label.folders, str(label.log)) == ((), "/dev/null")


async def test_a_mark_of_another_runtime_is_not_judged(runtime: Runtime, yard: Yard) -> None:
    sandbox = await runtime.start(yard.launch(FOR_EVER))
    with pytest.raises(Broken):
        await runtime.adopt(replace(sandbox.mark, runtime="docker"))


async def test_a_server_that_opens_again_in_one_process_still_hears_the_code(yard: Yard) -> None:
    launch = yard.launch("import time; time.sleep(0.1); raise SystemExit(3)")
    async with open_process(yard.site) as first:
        mark = (await first.start(launch)).mark
    async with open_process(yard.site) as second:
        sandbox = await second.adopt(mark)
        assert sandbox
        assert (await sandbox.ended()).code == 3
