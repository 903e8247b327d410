import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from salver_server.kit.unix_http import Listeners, bind, peer_uid, serve_http

SOMEBODY = 54321
ASK = b"GET /where HTTP/1.1\r\nHost: salver\r\nConnection: close\r\n\r\n"
AS_SOMEBODY = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[2])
    try:
        sock.sendall(bytes.fromhex(sys.argv[3]))
        sys.stdout.buffer.write(sock.recv(65536))
    except (BrokenPipeError, ConnectionResetError):
        pass
"""


async def where(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that says by which door somebody came in."""
    assert scope["type"] == "http"
    await receive()
    body = f"{scope['path']} {scope['server'][1] is None}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True, slots=True)
class Door:
    folder: Path
    listeners: Listeners

    @property
    def path(self) -> Path:
        return self.folder / "api"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that others may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="salver-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[Door]:
    with bind(folder / "api", 0) as listeners:
        async with serve_http(where, listeners):
            yield Door(folder, listeners)


@pytest.fixture
async def door(folder: Path) -> AsyncGenerator[Door]:
    async with opened(folder) as door:
        yield door


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(ASK)
    answer = await reader.read()
    writer.close()
    return answer.rpartition(b"\r\n")[2]


async def ask_as(uid: int, path: Path) -> bytes:
    asking = [sys.executable, "-I", "-c", AS_SOMEBODY, str(uid), str(path), ASK.hex()]
    done = await asyncio.to_thread(subprocess.run, asking, capture_output=True, check=False)
    return done.stdout + (b"refused" if b"PermissionError" in done.stderr else b"")


async def test_one_server_hears_both_sockets_and_can_tell_them_apart(door: Door) -> None:
    by_unix = await asyncio.open_unix_connection(door.path)
    assert await ask(*by_unix) == b"/where True"
    by_tcp = await asyncio.open_connection("127.0.0.1", door.listeners.port)
    assert await ask(*by_tcp) == b"/where False"


async def test_the_socket_is_for_its_owner_alone_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        with bind(folder / "api", 0):
            found = (folder / "api").stat().st_mode
            assert (stat.S_ISSOCK(found), found & 0o777) == (True, 0o600)
        assert os.umask(0) == 0
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_somebody_else_can_not_even_connect(door: Door) -> None:
    assert await ask_as(SOMEBODY, door.path) == b"refused"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_somebody_else_is_not_heard_although_the_socket_is_open_to_all(door: Door) -> None:
    door.path.chmod(0o666)
    assert await ask_as(SOMEBODY, door.path) == b""
    assert await ask_as(0, door.path) != b""
    by_unix = await asyncio.open_unix_connection(door.path)
    assert await ask(*by_unix) == b"/where True"


async def test_the_kernel_says_who_is_at_the_other_end() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert peer_uid(here) == os.geteuid()


async def test_a_socket_that_a_dead_server_left_is_replaced(folder: Path) -> None:
    (folder / "api").touch()
    async with opened(folder) as door:
        by_unix = await asyncio.open_unix_connection(door.path)
        assert await ask(*by_unix) == b"/where True"
    assert not (folder / "api").exists()


def test_only_this_computer_can_reach_the_port(folder: Path) -> None:
    with bind(folder / "api", 0) as listeners:
        assert listeners.tcp.getsockname()[0] == "127.0.0.1"
        assert listeners.port == listeners.tcp.getsockname()[1] > 0


def test_a_port_that_is_taken_is_said(folder: Path) -> None:
    with bind(folder / "one", 0) as listeners:
        listeners.tcp.listen()
        with pytest.raises(OSError, match="in use"), bind(folder / "two", listeners.port):
            pass
    assert not (folder / "two").exists()


async def test_signals_stay_with_the_program(folder: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with opened(folder):
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert during == before


async def test_closing_lets_go_who_is_connected_and_asks_nothing_more(folder: Path) -> None:
    async with opened(folder) as door:
        reader, writer = await asyncio.open_unix_connection(door.path)
        writer.write(ASK.replace(b"close", b"keep-alive"))
        await reader.readuntil(b"/where True")
    assert await reader.read() == b""
    writer.close()
