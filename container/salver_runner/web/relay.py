"""A proxy on this sandbox's own loopback: programs know how to use one, but not a unix socket.

It bears the session's token itself, so that no command's environment holds it, and passes on nothing
but CONNECT: the gateway decides about the rest.
"""

import asyncio
import contextlib
import logging
import socket
from pathlib import Path

logger = logging.getLogger(__name__)

LONGEST_HEAD = 16 * 1024
PIECE = 65536
ASKING = 60.0
"""Seconds within which a program must have said where it wants to go."""
ONLY_CONNECT = b"HTTP/1.1 405 Only https goes out, by CONNECT\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
AWAY = b"HTTP/1.1 503 Salver is away for a moment\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Relay:
    def __init__(self, gateway: Path, token: str, tasks: asyncio.TaskGroup) -> None:
        self._gateway = gateway
        self._token = token
        self._tasks = tasks
        self._opening = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def address(self) -> str:
        """Where it listens, from now on; raises OSError where a sandbox has no loopback."""
        async with self._opening:
            if self._server is None:
                self._server = await asyncio.start_server(
                    self._enter, "127.0.0.1", limit=LONGEST_HEAD, family=socket.AF_INET
                )
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Listen no longer, and cut off who is still connected."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()

    def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._tasks.create_task(self._serve(reader, writer), name="relay.serve")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
                async with asyncio.timeout(ASKING):
                    head = await reader.readuntil(b"\r\n\r\n")
                await self._connect(head, reader, writer)
        except Exception:
            # The rim: one program's odd request must not end the runner.
            logger.exception("a proxied connection broke")
        finally:
            writer.transport.abort()

    async def _connect(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        request, *_ = head.split(b"\r\n", 1)
        if not request.startswith(b"CONNECT "):
            await _answer(writer, ONLY_CONNECT)
            return
        try:
            inward, outward = await asyncio.open_unix_connection(str(self._gateway))
        except OSError:
            await _answer(writer, AWAY)
            return
        try:
            # Nothing else that the program said is needed there.
            token = f"\r\nhost: gateway\r\nproxy-authorization: Bearer {self._token}\r\n\r\n"
            outward.write(request + token.encode())
            async with asyncio.TaskGroup() as tasks:
                out = tasks.create_task(_copy(reader, outward), name="relay.out")
                back = tasks.create_task(_copy(inward, writer), name="relay.back")
                await asyncio.wait([back])
                # The gateway has had enough: whatever the program still says reaches nobody.
                out.cancel()
        except* OSError:
            pass  # either of them went away; both ends are closed below
        finally:
            outward.transport.abort()
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()


async def _answer(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)
    writer.close()
    await writer.wait_closed()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(PIECE):
        sink.write(data)
        await sink.drain()
    sink.write_eof()
