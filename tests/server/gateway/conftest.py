"""A gateway over real sockets, with a scripted model, a recorded vendor or a rude one behind it."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from salver_server.clock import SystemClock
from salver_server.gateway import Gateway, open_gateway, token_hash
from salver_server.ids import AgentName, SessionId
from tests.fakes.meter import FakeMeter
from tests.fakes.model import ScriptedModel
from tests.fakes.upstream import FakeUpstream

TOKEN = "session-token"
CHAT = "/openai/chat/completions"
MODELS = "/openai/models"
AGENT = AgentName("salver")


@dataclass(slots=True, kw_only=True)
class House:
    gateway: Gateway
    folder: Path
    meter: FakeMeter
    doors: int = 0

    async def door(self, *upstreams: FakeUpstream, token: str = TOKEN) -> Path:
        """A new session's socket."""
        self.doors += 1
        path = self.folder / f"{self.doors}"
        await self.gateway.open(
            SessionId(f"s-{self.doors}"),
            path,
            agent=AGENT,
            token_hash=token_hash(token),
            upstreams=upstreams,
        )
        return path


@asynccontextmanager
async def sandbox(door: Path, *, token: str = TOKEN) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client as a sandbox has it."""
    async with httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(uds=str(door)),
        base_url="http://gateway",
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=10,
    ) as client:
        yield client


def asking(text: str) -> dict[str, object]:
    return {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": text}]}


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def rude(answering: Answering) -> AsyncGenerator[str]:
    """The address of an upstream that does with each connection whatever it likes."""
    server = await asyncio.start_server(answering, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


def saying(answer: str) -> Answering:
    """Answers every request with these bytes and closes."""

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.encode())
        await writer.drain()
        writer.close()

    return answering


@dataclass(slots=True, kw_only=True)
class Vendor:
    """Answers as a real one did, and keeps what it was asked."""

    answer: bytes
    content_type: str = "text/event-stream"
    status: str = "200 OK"
    url: str = ""
    heads: list[str] = field(default_factory=list[str])
    bodies: list[bytes] = field(default_factory=list[bytes])

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(int(headers.get("content-length", "0"))))
        writer.write(
            f"HTTP/1.1 {self.status}\r\ncontent-type: {self.content_type}\r\n"
            "connection: close\r\n\r\n".encode()
        )
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def selling(vendor: Vendor) -> AsyncGenerator[Vendor]:
    """The vendor at its address."""
    async with rude(vendor) as url:
        vendor.url = url.removesuffix("/v1")
        yield vendor


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    meter = FakeMeter()
    with tempfile.TemporaryDirectory(prefix="line-") as folder:  # sockets want short paths
        async with open_gateway(SystemClock(), meter=meter) as gateway:
            yield House(gateway=gateway, folder=Path(folder), meter=meter)


@pytest.fixture
async def model() -> AsyncGenerator[ScriptedModel]:
    async with ScriptedModel() as model:
        yield model


@pytest.fixture
async def door(house: House, model: ScriptedModel) -> Path:
    return await house.door(FakeUpstream(url=model.url))
