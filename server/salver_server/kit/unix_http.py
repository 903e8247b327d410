"""HTTP over a unix socket whose peers are known by their credentials, and over TCP, in one server."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

PEER = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""


class PeerChecked(H11Protocol):
    """Hears only the server's own user, and root, on a unix socket."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX and not _may(peer_uid(sock)):
            transport.abort()
            return
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if getattr(self, "transport", None) is not None:  # refused before it began
            super().connection_lost(exc)


def peer_uid(sock: socket.socket) -> int:
    """The uid at the other end of a unix socket, as the kernel says."""
    return PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))[1]


def _may(uid: int) -> bool:
    return uid in (0, os.geteuid())


class _Server(uvicorn.Server):
    """uvicorn without its ten looks a second at whether it should end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()
        self.ending = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()

    async def main_loop(self) -> None:
        await self.ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals belong to the program: uvicorn would raise them again before the house is closed."""
        yield


@dataclass(frozen=True, slots=True)
class Listeners:
    unix: socket.socket
    tcp: socket.socket

    @property
    def port(self) -> int:
        return self.tcp.getsockname()[1]


@contextlib.contextmanager
def bind(unix: Path, port: int) -> Generator[Listeners]:
    """Sockets at `unix`, mode 0600, and on 127.0.0.1; port 0 asks for a free one. Raises OSError."""
    with _unix_socket(unix) as local, _tcp_socket(port) as tcp:
        yield Listeners(local, tcp)


@asynccontextmanager
async def serve_http(app: ASGIApp, listeners: Listeners) -> AsyncGenerator[None]:
    """Serve `app` on both sockets while the block lasts."""
    config = uvicorn.Config(
        app,
        http=PeerChecked,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        loop="asyncio",
        date_header=False,  # it is made by the looks that we do without
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as tasks:
        sockets = [listeners.unix, listeners.tcp]
        tasks.create_task(server.serve(sockets=sockets), name="api.serve")
        await server.serving.wait()
        try:
            yield
        finally:
            server.ending.set()


@contextlib.contextmanager
def _unix_socket(path: Path) -> Generator[socket.socket]:
    path.unlink(missing_ok=True)
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        try:
            yield sock
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _tcp_socket(port: int) -> Generator[socket.socket]:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        yield sock
