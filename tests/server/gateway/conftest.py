"""A gateway over real sockets, with a scripted model or a rude one behind it."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from salver_server.clock import SystemClock
from salver_server.gateway import Call, Gateway, open_gateway, token_hash
from salver_server.ids import SessionId
from tests.fakes.model import KEY, ScriptedModel

TOKEN = "session-token"
CHAT = "/openai/v1/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What an owner set for the upstream."""

    url: str
    key: SecretStr | None = field(default_factory=lambda: SecretStr(KEY))
    plain: bool = False


@dataclass(slots=True, kw_only=True)
class House:
    gateway: Gateway
    folder: Path
    calls: list[Call]
    doors: int = 0

    async def door(self, upstream: Owned, *, token: str = TOKEN) -> Path:
        """A new session's socket."""
        self.doors += 1
        path = self.folder / f"{self.doors}"
        session = SessionId(f"s-{self.doors}")
        await self.gateway.open(session, path, token_hash=token_hash(token), upstream=upstream)
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


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    calls: list[Call] = []
    with tempfile.TemporaryDirectory(prefix="line-") as folder:  # sockets want short paths
        async with open_gateway(SystemClock(), meter=calls.append) as gateway:
            yield House(gateway=gateway, folder=Path(folder), calls=calls)


@pytest.fixture
async def model() -> AsyncGenerator[ScriptedModel]:
    async with ScriptedModel() as model:
        yield model


@pytest.fixture
async def door(house: House, model: ScriptedModel) -> Path:
    return await house.door(Owned(url=model.url))
