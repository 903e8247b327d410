"""A kept connection to a server's API: HTTP as thin as it can be, so that little but the server is measured."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One message and its reply."""

    seconds: float
    first: float
    """Seconds until the reply began to show; those of the whole where nothing was streamed."""
    session: str
    reply: str


class Talk:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @staticmethod
    async def open(socket: Path) -> "Talk":
        return Talk(*await asyncio.open_unix_connection(str(socket)))

    def close(self) -> None:
        self._writer.close()

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """The parsed answer; raises `RuntimeError` for a refusal."""
        headers = await self._send(method, path, body)
        content = await self._reader.readexactly(int(headers["content-length"]))
        if not headers["status"].startswith("2"):
            raise RuntimeError(f"{method} {path}: {headers['status']} {content!r}")
        return json.loads(content) if content else None

    async def round_trip(self, text: str, **where: object) -> Trip:
        """Send a message and follow it to its end; raises `RuntimeError` when it was not answered."""
        began = time.perf_counter()
        accepted = await self.ask("POST", "/messages", {"text": text, **where})
        end: dict[str, Any] = {}
        seconds = first = 0.0
        async with aclosing(self._lines(f"/messages/{accepted['id']}/events")) as lines:
            async for line in lines:
                event = json.loads(line)
                if event["event"] == "text":
                    first = first or time.perf_counter() - began
                if event["event"] == "end":
                    seconds, end = time.perf_counter() - began, event
        if end.get("state") != "delivered":
            raise RuntimeError(f"{text!r} ended as {end}")
        return Trip(
            seconds=seconds,
            first=first or seconds,
            session=accepted["session"],
            reply=end["reply"],
        )

    async def _lines(self, path: str) -> AsyncGenerator[bytes]:
        headers = await self._send("GET", path, None)
        if headers.get("transfer-encoding") != "chunked":
            raise RuntimeError(f"GET {path}: {headers}")
        while size := int(await self._reader.readline(), 16):
            chunk = await self._reader.readexactly(size + 2)
            for line in chunk[:-2].splitlines():
                yield line
        await self._reader.readline()

    async def _send(self, method: str, path: str, body: object) -> dict[str, str]:
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: salver\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        status, *fields = answer.decode().splitlines()[:-1]
        headers = dict(field.lower().split(": ", 1) for field in fields if field)
        return {**headers, "status": status.split(" ", 1)[1]}
