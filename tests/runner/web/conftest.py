"""A gateway that answers as it is told, on a real unix socket, and what was asked of it."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from salver_runner.web import Web, open_web

TOKEN = "session-token"


@dataclass(slots=True, kw_only=True)
class FakeGateway:
    path: Path
    web: Web = field(init=False)
    answer: bytes = b""
    heads: list[str] = field(default_factory=list[str])

    def page(self, body: bytes, *more: str, status: int = 200) -> None:
        """What it answers from now on."""
        head = [f"HTTP/1.1 {status} So", f"content-length: {len(body)}", *more, "", ""]
        self.answer = "\r\n".join(head).encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers, and where that was a tunnel says again what it hears."""
        with contextlib.suppress(OSError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            writer.write(self.answer)
            while head.startswith("CONNECT ") and (data := await reader.read(65536)):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def gateway() -> AsyncGenerator[FakeGateway]:
    with tempfile.TemporaryDirectory(prefix="line-") as folder:
        gateway = FakeGateway(path=Path(folder) / "gateway")
        server = await asyncio.start_unix_server(gateway.serve, gateway.path)
        async with server, open_web(gateway.path, TOKEN) as web:
            gateway.web = web
            yield gateway
