"""The gateway's place, taken by vendors that are spoken to directly: each under its own name."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.fakes.model import ScriptedModel
from tests.fakes.model.peer import HungUp, Peer, Received

Speak = Callable[[Peer, Received], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Hall:
    path: Path
    vendors: dict[str, Speak] = field(default_factory=dict[str, Speak])
    asked: list[str] = field(default_factory=list[str])
    """The vendors that were asked, in order."""

    def invite(self, name: str, model: ScriptedModel) -> ScriptedModel:
        async def speak(peer: Peer, received: Received) -> None:
            path = model.wire.base + received.path.removeprefix(f"/{name}")
            await model.answer(peer, replace(received, path=path))

        self.vendors[name] = speak
        return model

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        try:
            while (received := await peer.request()) is not None:
                name = received.path.split("/")[1]
                self.asked.append(name)
                await self.vendors[name](peer, received)
                if not peer.stays():
                    break
        except (HungUp, OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[Hall]:
    hall = Hall(path=path)
    server = await asyncio.start_unix_server(hall.serve, path)
    try:
        yield hall
    finally:
        server.close()
