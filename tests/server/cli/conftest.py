"""The command line as people run it, against a real server or a rude one."""

import asyncio
import fcntl
import json
import os
import pty
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from salver_server.__main__ import main
from salver_server.app import Running, open_house
from salver_server.ids import ChannelName
from salver_server.messages import Inbound, When
from salver_server.settings import Settings, places
from tests.fakes.clock import NOON
from tests.fakes.keychain import FakeKeychain
from tests.fakes.runtime import FAKE, NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(slots=True, kw_only=True)
class Shell:
    """A terminal of somebody whose data lies in `home`."""

    home: Path

    async def run(self, *words: str, stdin: str | bytes = "", **env: str) -> Done:
        """What `salver WORDS` does."""
        runner = CliRunner(env={"SALVER_HOME": str(self.home), **env})
        done = await asyncio.to_thread(runner.invoke, main, words, input=stdin)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(code=done.exit_code, out=done.stdout, err=done.stderr)

    async def ok(self, *words: str, stdin: str = "", **env: str) -> str:
        """What is printed by a command that succeeds and complains of nothing."""
        done = await self.run(*words, stdin=stdin, **env)
        assert (done.code, done.err) == (0, "")
        return done.out

    async def on_terminal(self, *words: str) -> tuple[str, str]:
        """What `salver WORDS` writes to a terminal, and to stderr."""
        here, there = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "salver_server", *words),
            stdout=there,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "SALVER_HOME": str(self.home)},
        )
        os.close(there)
        _, err = await process.communicate()
        out = os.read(here, 65536).decode()
        os.close(here)
        return out.replace("\r\n", "\n"), err.decode()

    async def typed(self, *words: str, after: dict[str, str]) -> str:
        """All that `salver WORDS` shows on a terminal where a line is typed after each of these prompts."""
        here, there = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "salver_server", *words),
            stdin=there,
            stdout=there,
            stderr=there,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "SALVER_HOME": str(self.home)},
        )
        os.close(there)
        shown = ""
        with os.fdopen(here, "r+b", buffering=0) as terminal:
            waiting = dict(after)
            while True:
                try:
                    shown += (await asyncio.to_thread(terminal.read, 65536) or b"").decode()
                except OSError:  # the other end is closed
                    break
                for prompt in [prompt for prompt in waiting if prompt in shown]:
                    terminal.write(f"{waiting.pop(prompt)}\n".encode())
        await process.wait()
        return shown


@pytest.fixture
def shell(quick_path: Path) -> Shell:
    return Shell(home=quick_path / "home")


@pytest.fixture
async def house(shell: Shell, keychain: FakeKeychain) -> AsyncIterator[Running]:
    """A server that serves whoever writes, without sandboxes."""
    settings = Settings(home=shell.home, runtime=NAME, keep_free=0)
    async with open_house(settings, runtime_specs={NAME: FAKE}, keychain=keychain) as running:
        yield running


@pytest.fixture
async def stopped(house: Running) -> Running:
    """The same where everything is stopped: what is written waits."""
    await house.rooms.keeper.stop()
    return house


async def write(
    house: Running, text: str = "hello", *, key: str = "1", when: When = "now"
) -> tuple[str, str]:
    """Somebody writes; the message and its session."""
    message = Inbound(
        channel=ChannelName("local"),
        address="salver",
        key=key,
        sender="you",
        text=text,
        sent_at=NOON,
        when=when,
    )
    found = await house.rooms.intake(message)
    return found.message, found.sessions[0]


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Rude:
    """A server that answers each request as told, in order, or hangs up."""

    answers: list[Answer] = field(default_factory=list[Answer])
    asked: list[str] = field(default_factory=list[str])
    bodies: list[Any] = field(default_factory=list[Any])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0
            )  # fmt: skip
            self.asked.append(" ".join(head.split()[:2]))
            self.bodies.append(json.loads(await reader.readexactly(length) or b"null"))
            await self.answers.pop(0)(writer)
            await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def saying(body: object, *, status: int = 200) -> Answer:
    """A whole answer."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        writer.write(
            f"HTTP/1.1 {status} So\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n".encode() + data
        )  # fmt: skip

    return answer


def telling(*events: object, cut: bool = False) -> Answer:
    """A stream of events that ends in order, or in the middle."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 So\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
        for event in events:
            data = json.dumps(event).encode() + b"\n"
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if not cut:
            writer.write(b"0\r\n\r\n")

    return answer


async def hanging_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.fixture
async def rude(shell: Shell) -> AsyncIterator[Rude]:
    socket = places(shell.home).api_socket
    socket.parent.mkdir(mode=0o700)
    rude = Rude()
    async with await asyncio.start_unix_server(rude.serve, socket):
        yield rude
