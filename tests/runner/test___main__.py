"""The runner as a program of its own, started as a sandbox starts it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import salver_runner
from salver_runner.__main__ import EXIT_MISMATCH, EXIT_OUSTED
from salver_runner.launch import PROTOCOL
from tests.runner.bus import EPOCH, Bus, LineEnd, leave_a_hot_journal

SOURCE = Path(salver_runner.__file__).parents[1]
BOOT = (
    "import pathlib, sys; sys.path.insert(0, sys.argv.pop()); root = pathlib.Path(sys.argv.pop()); "
    "from salver_runner.__main__ import main; sys.exit(main(root))"
)
BOOTSTRAP = (
    "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]); "
    "import salver_runner.__main__; print(*(set(sys.modules) - before))"
)


def command(bus: Bus, task: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", BOOT, task, str(bus.root), str(SOURCE)]


def launch(bus: Bus, **changes: object) -> None:
    record: dict[str, object] = {
        "protocol": PROTOCOL,
        "session": "ses-1",
        "generation": 1,
        "epoch": EPOCH,
        "read": 0,
        "agent": "house",
        "provider": "demo",
        "models": [],
        "instructions": "",
        "token": "token",
        "limits": {"rounds": 50, "seconds": 900},
        "surroundings": {
            "base": "",
            "skills": [],
            "web": "none",
            "memory_mb": 1024,
            "processes": 256,
            "disk_mb": 4096,
        },
        "attempts": {},
        "failpoint": "",
    }
    path = bus.root / "in" / "launch.json"
    path.write_text(json.dumps(record | changes), encoding="utf-8")


@asynccontextmanager
async def started(bus: Bus) -> AsyncGenerator[Process]:
    runner = await asyncio.create_subprocess_exec(
        *command(bus, "serve"), cwd=bus.home, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield runner
    finally:
        if runner.returncode is None:
            runner.kill()
        await runner.communicate()


async def test_a_runner_answers_and_leaves_when_told(bus: Bus) -> None:
    launch(bus)
    bus.write("!say hello")
    async with LineEnd(bus.line) as line, started(bus) as runner:
        await line.until(bus.replies)
        line.say("retire")
        assert await runner.wait() == 0
    assert bus.replies() == ["hello"]


def test_a_runner_that_is_not_the_owner_leaves_with_a_code_of_its_own(bus: Bus) -> None:
    launch(bus)
    bus.outbox(generation=2)
    ended = subprocess.run(command(bus, "serve"), capture_output=True, text=True, check=False)
    assert ended.returncode == EXIT_OUSTED == 3
    assert "left to another owner" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_runner_that_is_ousted_while_it_works_leaves_with_that_code(bus: Bus) -> None:
    launch(bus)
    async with LineEnd(bus.line) as line, started(bus) as runner:
        await line.until(lambda: line.greetings)
        bus.outbox(generation=2)
        bus.write("!say hello")
        assert await runner.wait() == EXIT_OUSTED
    assert bus.rows() == []


def test_a_runner_of_another_version_says_so_and_writes_nothing(bus: Bus) -> None:
    launch(bus, protocol=PROTOCOL + 1)
    ended = subprocess.run(command(bus, "serve"), capture_output=True, text=True, check=False)
    assert ended.returncode == EXIT_MISMATCH == 4
    assert "Restart Salver so that both come from the same installation." in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not bus.outbound.exists()


def test_the_healing_task_rolls_a_journal_back_and_does_nothing_else(bus: Bus) -> None:
    bus.outbox().send(1, 1, "hello")
    leave_a_hot_journal(bus.outbound)
    subprocess.run(command(bus, "heal"), check=True)
    assert list(bus.outbound.parent.iterdir()) == [bus.outbound]
    assert [row.kind for row in bus.rows()] == ["send"]


async def test_an_armed_runner_stands_still_at_its_failpoint(bus: Bus) -> None:
    fifo = bus.home / ".failpoint"
    os.mkfifo(fifo)
    launch(bus, failpoint="runner.after-claim")
    bus.write("!say hello")
    async with started(bus) as runner:
        assert await asyncio.to_thread(fifo.read_text, encoding="utf-8") == "runner.after-claim\n"
        runner.send_signal(signal.SIGKILL)
        assert await runner.wait() == -signal.SIGKILL
    assert [row.kind for row in bus.rows()] == ["claim"]


async def test_a_runner_that_is_terminated_leaves_its_file_whole(bus: Bus) -> None:
    launch(bus)
    bus.write("!slow 1000")
    async with LineEnd(bus.line) as line, started(bus) as runner:
        await line.until(line.text)
        runner.terminate()
        await runner.wait()
    assert [row.kind for row in bus.rows()] == ["claim"]


def test_a_start_imports_the_standard_library_alone() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", BOOTSTRAP, str(SOURCE)],
        check=True,
        capture_output=True,
        text=True,
    )
    imported = {name.partition(".")[0] for name in ended.stdout.split()}
    assert imported - set(sys.stdlib_module_names) == {"salver_runner"}


def test_a_start_imports_no_provider() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", BOOTSTRAP, str(SOURCE)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert [
        name for name in ended.stdout.split() if name.startswith("salver_runner.providers.")
    ] == []
