"""The program as it is started and ended."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from salver_server.__main__ import main
from salver_server.settings import places

PATIENCE = 30.0


@pytest.fixture
def home(quick_path: Path) -> Path:
    return quick_path / "home"


async def start(home: Path, *words: str, **env: str) -> Process:
    """`salver serve WORDS`, as a program of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "salver_server", "serve", *words),
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "SALVER_HOME": str(home), **env},
    )


async def line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return (await process.stdout.readline()).decode()


@asynccontextmanager
async def serving(home: Path, *words: str) -> AsyncGenerator[Process]:
    """A server that is ready."""
    process = await start(home, *words)
    try:
        assert await line(process) == f"Salver is ready, with its data in {home}.\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def refused(home: Path, *words: str, **env: str) -> str:
    """What a server says that can't start."""
    process = await start(home, *words, **env)
    out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    return err.decode()


def test_the_program_tells_its_version() -> None:
    done = CliRunner().invoke(main, ["--version"], prog_name="salver")
    assert (done.exit_code, done.output) == (0, f"salver {version('salver')}\n")


def test_the_program_tells_its_commands() -> None:
    done = CliRunner().invoke(main, ["--help"])
    found = [line.split()[0] for line in done.output.partition("Commands:\n")[2].splitlines()]
    assert found == [
        "agents",
        "chat",
        "keychain",
        "messages",
        "provider",
        "resume",
        "serve",
        "sessions",
        "skills",
        "status",
        "stop",
        "usage",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda it: it.name)
async def test_a_server_tells_how_to_talk_to_it_and_ends_in_order(
    home: Path, number: signal.Signals
) -> None:
    async with serving(home) as process:
        assert await line(process) == ('Talk to it from another terminal:  salver chat "hello"\n')
        assert await line(process) == "End it with Ctrl-C.\n"
        process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        assert process.returncode == 0, err
        assert out.endswith(b"Ending; what is being worked on goes on at the next start.\n")
        assert not places(home).api_socket.exists()


async def test_a_program_is_told_in_one_line_that_the_server_is_ready(home: Path) -> None:
    process = await start(home, "--json")
    try:
        ready = json.loads(await line(process))
        assert (ready["pid"], ready["home"]) == (process.pid, str(home))
        assert ready["socket"] == str(places(home).api_socket)
        host, _, port = ready["address"].partition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
        process.terminate()
        out, _ = await process.communicate()
        assert (process.returncode, out) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_a_second_server_says_who_came_first(home: Path) -> None:
    async with serving(home) as process:
        found = await refused(home)
        assert found.startswith(
            f"salver: Salver is already running on {home}: process {process.pid}"
        )
        assert found.endswith("or set SALVER_HOME to another folder.\n")


async def test_a_server_that_was_killed_is_followed_by_the_next(home: Path) -> None:
    for _ in range(2):
        async with serving(home) as process:
            process.kill()
            await process.wait()


async def test_a_setting_that_can_not_be_used_is_named(home: Path) -> None:
    found = await refused(home, SALVER_IDLE="soon")
    assert found.startswith("salver: SALVER_IDLE is not usable: ")
    assert "Traceback" not in found


async def test_a_folder_that_can_not_be_used_is_named(home: Path) -> None:
    os.mknod(home)
    assert (await refused(home)).startswith(f"salver: {home} cannot be made: File exists.")


@pytest.mark.parametrize("port", ["many", "70000", "-1"])
def test_a_port_that_is_no_port_is_the_caller_s_mistake(port: str) -> None:
    done = CliRunner().invoke(main, ["serve", "--port", port])
    assert done.exit_code == 2
    assert port in done.stderr
