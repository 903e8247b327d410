"""What every runtime promises; one suite, run over each."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from salver_server.errors import Broken, NeedsUser, Transient
from salver_server.runtimes import Mark, Runtime, RuntimeSpec, Sandbox
from salver_server.runtimes.process import RUNTIME as PROCESS
from tests.fakes.runtime import FAKE
from tests.fakes.stage import STAGE
from tests.fakes.yard import Yard, report

pytestmark = pytest.mark.sandbox

FOR_EVER = "import signal; report(); signal.pause()"

DAEMON = """
import os, signal, time
def daemon():
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        (root / "out" / "heartbeat").write_text(str(time.monotonic()))
        time.sleep(0.005)
daemon()
os.wait()
while not (root / "out" / "heartbeat").exists():
    time.sleep(0.001)
"""


# What can be said of a sandbox without a look at what runs in it.
from_outside = pytest.mark.parametrize(
    "spec", [PROCESS, FAKE, STAGE], ids=lambda spec: spec.name, indirect=True
)


@pytest.fixture(params=[PROCESS, FAKE], ids=lambda spec: spec.name)
def spec(request: pytest.FixtureRequest) -> RuntimeSpec:
    return request.param


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


@pytest.fixture
async def runtime(spec: RuntimeSpec, yard: Yard) -> AsyncIterator[Runtime]:
    async with spec.open(yard.site) as runtime:
        yield runtime
        for mark in await runtime.list():
            if sandbox := await runtime.adopt(mark):
                await sandbox.kill()


@from_outside
async def test_a_probe_finds_that_it_works(runtime: Runtime) -> None:
    probe = await runtime.probe()
    assert (probe.works, probe.fix) == (True, "")
    assert probe.reason


@from_outside
async def test_the_mark_names_the_runtime_and_the_session(
    spec: RuntimeSpec, runtime: Runtime, yard: Yard
) -> None:
    sandbox = await runtime.start(yard.launch(FOR_EVER, session="s-7", generation=3))
    mark = sandbox.mark
    assert (mark.runtime, mark.session, mark.generation) == (spec.name, "s-7", 3)


async def test_the_runner_finds_its_folders_and_its_task(runtime: Runtime, yard: Yard) -> None:
    pack = yard.place / "pack"
    pack.mkdir()
    (pack / "module.py").touch()
    skill = yard.place / "letters"
    skill.mkdir()
    (skill / "SKILL.md").touch()
    launch = yard.launch(
        """
        import os, sys
        (root / "out" / "written").write_text("out")
        (root / "home" / "written").write_text("home")
        open("written", "w").write("work")
        report(
            task=sys.argv[1:],
            home=os.path.samefile(os.environ["HOME"], root / "home"),
            pack=os.listdir(root / "packs" / "tools"),
            skill=os.listdir(root / "skills" / "letters"),
            line=os.listdir(root / "line"),
            colour=os.environ["COLOUR"],
            strays=[name for name in os.environ if name.startswith("PYTEST")],
        )
        """,
        environment={"COLOUR": "a blue\nsort of"},
        packs={"tools": pack},
        skills={"letters": skill},
    )
    launch = replace(launch, task="heal")
    (launch.line / "gateway").touch()
    await runtime.start(launch)
    assert await report(launch) == {
        "task": ["heal"],
        "home": True,
        "pack": ["module.py"],
        "skill": ["SKILL.md"],
        "line": ["gateway"],
        "colour": "a blue\nsort of",
        "strays": [],
    }
    folders = {"out": launch.outbox, "home": launch.home, "work": launch.work}
    written = {name: (folder / "written").read_text() for name, folder in folders.items()}
    assert written == {name: name for name in folders}


async def test_what_the_runner_prints_is_appended_to_its_log(runtime: Runtime, yard: Yard) -> None:
    launch = yard.launch("import sys; print('out', flush=True); print('err', file=sys.stderr)")
    launch.log.write_text("before\n")
    sandbox = await runtime.start(launch)
    await sandbox.ended()
    assert launch.log.read_text() == "before\nout\nerr\n"


async def test_the_runner_hears_nothing_from_the_server(runtime: Runtime, yard: Yard) -> None:
    launch = yard.launch(
        "import os, sys; report(fds=os.listdir('/proc/self/fd'), said=sys.stdin.read())"
    )
    await runtime.start(launch)
    found = await report(launch)
    # The fourth is the listing's own.
    assert (len(found["fds"]), found["said"]) == (4, "")


@pytest.mark.parametrize(
    ("script", "code"),
    [("", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL)],
    ids=["done", "failed", "struck down"],
)
async def test_its_end_tells_the_exit_code(
    runtime: Runtime, yard: Yard, script: str, code: int
) -> None:
    sandbox = await runtime.start(yard.launch(script))
    end = await sandbox.ended()
    assert (end.cause, end.code) == ("ended", code)
    assert end.detail


@from_outside
async def test_many_may_wait_for_the_end_and_one_may_give_up(runtime: Runtime, yard: Yard) -> None:
    sandbox = await runtime.start(yard.launch(FOR_EVER))
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(sandbox.ended()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await sandbox.kill()
    assert waiting[0].cancelled()
    assert {task.result().cause for task in waiting[1:]} == {"killed"}
    assert (await sandbox.ended()).cause == "killed"


async def test_a_kill_takes_every_process_and_may_be_repeated(runtime: Runtime, yard: Yard) -> None:
    launch = yard.launch(DAEMON + FOR_EVER)
    sandbox = await runtime.start(launch)
    await report(launch)
    async with asyncio.timeout(1):
        await sandbox.kill()
    await sandbox.kill()
    assert await is_silent(launch.outbox / "heartbeat")
    assert await runtime.list() == []


async def test_nothing_outlives_the_runner(runtime: Runtime, yard: Yard) -> None:
    launch = yard.launch(DAEMON)
    sandbox = await runtime.start(launch)
    assert (await sandbox.ended()).code == 0
    assert await is_silent(launch.outbox / "heartbeat")


async def test_usage_is_told_or_admitted_unknown(runtime: Runtime, yard: Yard) -> None:
    launch = yard.launch("ballast = b'x' * 30_000_000\n" + FOR_EVER)
    sandbox = await runtime.start(launch)
    await report(launch)
    usage = await sandbox.usage()
    assert usage.memory is None or usage.memory > 30_000_000
    assert usage.processes is None or 1 <= usage.processes <= 3


async def test_a_later_server_adopts_what_still_lives(spec: RuntimeSpec, yard: Yard) -> None:
    launch = yard.launch(FOR_EVER)
    async with spec.open(yard.site) as first:
        mark = (await first.start(launch)).mark
        await report(launch)
    async with spec.open(yard.site) as second:
        assert await second.list() == [mark]
        sandbox = found(await second.adopt(mark))
        assert sandbox.mark == mark
        assert await second.list() == [mark]
        await sandbox.kill()
        assert (await sandbox.ended()).cause == "killed"
        assert await second.adopt(mark) is None
        assert await second.list() == []


async def test_who_was_adopted_tells_of_its_end(spec: RuntimeSpec, yard: Yard) -> None:
    launch = yard.launch(
        "import time\nreport()\nwhile not (root / 'in' / 'go').exists(): time.sleep(0.005)"
    )
    async with spec.open(yard.site) as first:
        mark = (await first.start(launch)).mark
        await report(launch)
    async with spec.open(yard.site) as second:
        sandbox = found(await second.adopt(mark))
        (launch.inbox / "go").touch()
        assert (await sandbox.ended()).cause == "ended"


async def test_the_dead_are_not_adopted(runtime: Runtime, yard: Yard) -> None:
    sandbox = await runtime.start(yard.launch(""))
    await sandbox.ended()
    assert await runtime.adopt(sandbox.mark) is None


@from_outside
async def test_one_that_is_known_already_may_be_adopted_again(runtime: Runtime, yard: Yard) -> None:
    sandbox = await runtime.start(yard.launch(FOR_EVER))
    again = found(await runtime.adopt(sandbox.mark))
    await again.kill()
    assert (await sandbox.ended()).cause == "killed"


@from_outside
async def test_a_mark_that_proves_nothing_is_no_proof_of_death(
    spec: RuntimeSpec, runtime: Runtime, yard: Yard
) -> None:
    session = yard.launch("").session
    with pytest.raises(Broken, match="s-1"):
        await runtime.adopt(Mark(runtime=spec.name, session=session, generation=1, handle="?"))


@from_outside
async def test_all_that_live_are_listed_and_only_those(runtime: Runtime, yard: Yard) -> None:
    sandboxes = [
        await runtime.start(yard.launch(FOR_EVER, session=f"s-{n}", generation=n))
        for n in (1, 2, 3)
    ]
    await sandboxes[1].kill()
    listed = {(mark.session, mark.generation) for mark in await runtime.list()}
    assert listed == {("s-1", 1), ("s-3", 3)}
    assert {mark.handle for mark in await runtime.list()} == {
        sandboxes[0].mark.handle,
        sandboxes[2].mark.handle,
    }


@from_outside
async def test_another_installs_sandboxes_are_left_alone(
    spec: RuntimeSpec, tmp_path: Path, runtime: Runtime, yard: Yard
) -> None:
    other = Yard(tmp_path, install="yard-2")
    mine = await runtime.start(yard.launch(FOR_EVER))
    async with spec.open(other.site) as neighbour:
        theirs = await neighbour.start(other.launch(FOR_EVER))
        assert await runtime.list() == [mine.mark]
        assert await neighbour.list() == [theirs.mark]
        with pytest.raises(Broken, match="another install"):
            await neighbour.adopt(mine.mark)
        await theirs.kill()
    assert (await runtime.list()) == [mine.mark]


@from_outside
async def test_what_cannot_start_leaves_nothing(runtime: Runtime, yard: Yard) -> None:
    launch = yard.launch(FOR_EVER)
    launch.home.rmdir()
    with pytest.raises((NeedsUser, Transient), match="home"):
        await runtime.start(launch)
    assert await runtime.list() == []


@from_outside
@pytest.mark.parametrize("milliseconds", range(0, 20, 2))
async def test_a_start_that_is_cancelled_leaves_nothing(
    runtime: Runtime, yard: Yard, milliseconds: int
) -> None:
    launch = yard.launch(FOR_EVER)
    starting = asyncio.get_running_loop().create_task(runtime.start(launch))
    await asyncio.sleep(milliseconds / 1000)
    if starting.cancel():
        with pytest.raises(asyncio.CancelledError):
            await starting
    else:
        await starting.result().kill()
    assert await runtime.list() == []


async def test_a_line_made_anew_can_be_reached(runtime: Runtime, yard: Yard) -> None:
    launch = yard.launch(
        """
        import socket
        def call():
            while True:
                with socket.socket(socket.AF_UNIX) as line:
                    try:
                        line.connect(str(root / "line" / "line"))
                    except ConnectionRefusedError:
                        continue
                    return line.recv(100).decode()
        first = call()
        report(first=first, second=call())
        """
    )
    line = Line(launch.line / "line")
    await runtime.start(launch)
    await line.answer(b"hello")
    line = Line(launch.line / "line")
    await line.answer(b"hello again")
    assert await report(launch) == {"first": "hello", "second": "hello again"}


class Line:
    """The server's end of a line; a new one takes the place of the old one."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)
        draft = path.with_name("line.draft")
        self.socket.bind(str(draft))
        draft.chmod(0o777)
        self.socket.listen()
        draft.rename(path)

    async def answer(self, words: bytes) -> None:
        async with asyncio.timeout(10):
            caller, _ = await asyncio.get_running_loop().sock_accept(self.socket)
        self.socket.close()
        with caller:
            await asyncio.get_running_loop().sock_sendall(caller, words)


def found(sandbox: Sandbox | None) -> Sandbox:
    assert sandbox is not None
    return sandbox


async def is_silent(heartbeat: Path) -> bool:
    beat = heartbeat.stat().st_mtime_ns  # noqa: ASYNC240  a file of this machine's
    await asyncio.sleep(0.05)
    return heartbeat.stat().st_mtime_ns == beat  # noqa: ASYNC240  another look at it
