"""One tunnel: bytes both ways between a sandbox and the host whose name its TLS hello bears.

A slow reader holds up only its own writer; a tunnel that carries nothing, too much, or that is no
longer allowed is ended.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from salver_server.clock import Clock
from salver_server.gateway.web.dial import refused
from salver_server.gateway.web.hello import Hello, NotHello

GREETING = 15.0
"""Seconds within which a client must have said hello."""
IDLE = 300.0
"""Seconds without a byte in either direction."""
LOOK = 15.0
"""Seconds between two looks at whether it may go on."""
MOST_BYTES = 4 * 1024**3
"""Both ways together."""
PIECE = 65536
UNRECOGNIZED_NAME = bytes.fromhex("15 0301 0002 0270")
"""How TLS says that this is not the server which was asked for."""

End = Literal["closed", "idle", "limit", "not allowed any longer", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What came of a tunnel."""

    end: End
    sent: int
    received: int


@dataclass(slots=True, kw_only=True)
class Ends:
    """The sandbox's end, as a stream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def greeted(inside: Ends, host: str, *, first: bytes) -> bytes:
    """What the client said up to its hello, which must name this host; raises `Refused`."""
    hello = Hello()
    try:
        async with asyncio.timeout(GREETING):
            name = hello.feed(first)
            while name is None:
                data = await inside.reader.read(PIECE)
                if not data:
                    raise NotHello("it hung up before its TLS hello")
                name = hello.feed(data)
    except TimeoutError as exc:
        raise refused(host, f"no TLS hello came within {GREETING:.0f} s") from exc
    except NotHello as exc:
        raise refused(host, str(exc)) from exc
    if name.lower() != host:
        raise refused(host, "its TLS hello names another server (SNI)")
    return bytes(hello.taken)


class _Enough(Exception):
    """More than a tunnel may carry."""


class Tunnel:
    def __init__(self, clock: Clock, *, may: Callable[[], Awaitable[bool]]) -> None:
        """`may` tells whether it may still go on."""
        self._clock = clock
        self._may = may
        self._sent = 0
        self._received = 0
        self._moved_at = clock.elapsed()

    async def carry(self, inside: Ends, outside: socket.socket, *, first: bytes) -> Carried:
        """Copy until one of them has had enough; both are left closed or to be cut."""
        reader, writer = await asyncio.open_connection(sock=outside)
        end: End = "closed"
        try:
            async with asyncio.TaskGroup() as tasks:
                out = tasks.create_task(self._out(inside.reader, writer, first), name="tunnel.out")
                back = tasks.create_task(self._back(reader, inside.writer), name="tunnel.back")
                watching = tasks.create_task(self._watch(), name="tunnel.watch")
                watching.add_done_callback(lambda _: (out.cancel(), back.cancel()))
                await asyncio.wait([out, back])
                watching.cancel()
            if not watching.cancelled():
                end = watching.result()
        except* _Enough:
            end = "limit"
        except* OSError:
            end = "lost"
        finally:
            writer.transport.abort()
        return Carried(end=end, sent=self._sent, received=self._received)

    async def _out(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, first: bytes
    ) -> None:
        data = first
        while data:
            self._sent += len(data)
            await self._pass(data, sink)
            data = await source.read(PIECE)
        _end(sink)

    async def _back(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(PIECE):
            self._received += len(data)
            await self._pass(data, sink)
        _end(sink)

    async def _pass(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        if self._sent + self._received > MOST_BYTES:
            raise _Enough
        self._moved_at = self._clock.elapsed()
        sink.write(data)
        await sink.drain()

    async def _watch(self) -> End:
        while True:
            await self._clock.sleep(LOOK)
            if self._clock.elapsed() - self._moved_at > IDLE:
                return "idle"
            if not await self._may():
                return "not allowed any longer"


def _end(sink: asyncio.StreamWriter) -> None:
    """Say that nothing more comes this way."""
    with contextlib.suppress(OSError):
        sink.write_eof()
