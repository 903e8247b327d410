"""The web as an agent reaches it: through the gateway, which decides; a sandbox has no other way out."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from salver_runner.web.relay import Relay

LONGEST_URL = 12_000
"""Characters of an address as it is sent; the gateway reads no longer head."""
LONGEST_HEAD = 65_536
LARGEST = 6_000_000
"""Bytes; the gateway cuts pages off before."""


class Unreachable(Exception):
    """This page cannot be had; the text says why, for the model and for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    url: str
    """Where it was found in the end."""
    status: int
    type: str
    body: bytes
    cut: bool
    """Whether there was more than the gateway passes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    socket: Path
    """The gateway's."""
    token: str
    """What the gateway knows this session by."""
    proxy: Callable[[], Awaitable[str]]
    """Address of a proxy for programs in this sandbox, from now on; raises OSError where there is none."""

    async def page(self, url: str) -> Page:
        """Raises `Unreachable`."""
        try:
            asked = quote(url, safe="")
        except UnicodeEncodeError as exc:
            raise Unreachable("The address holds half of a character.") from exc
        if len(asked) > LONGEST_URL:
            raise Unreachable("The address is too long.")
        try:
            return await self._asked(asked)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as exc:
            raise Unreachable("Salver's gateway is away for a moment. Try again.") from exc

    async def _asked(self, asked: str) -> Page:
        reader, writer = await asyncio.open_unix_connection(str(self.socket), limit=LONGEST_HEAD)
        try:
            head = f"GET /web?url={asked} HTTP/1.1\r\nhost: gateway\r\n"
            writer.write(f"{head}authorization: Bearer {self.token}\r\n\r\n".encode())
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
            headers = {name.lower(): value.strip() for name, _, value in _pairs(lines)}
            body = await reader.readexactly(min(int(headers["content-length"]), LARGEST))
        except KeyError as exc:
            raise ValueError from exc
        finally:
            writer.transport.abort()
        if "x-salver-code" in headers:
            raise Unreachable(json.loads(body)["error"]["message"])
        return Page(
            url=headers.get("x-salver-url", ""),
            status=int(first.split()[1]),
            type=headers.get("content-type", ""),
            body=body,
            cut="x-salver-cut" in headers,
        )


def _pairs(lines: list[str]) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in lines]


@asynccontextmanager
async def open_web(socket: Path, token: str) -> AsyncGenerator[Web]:
    """Nothing is opened before it is asked for."""
    async with asyncio.TaskGroup() as tasks:
        relay = Relay(socket, token, tasks)
        try:
            yield Web(socket=socket, token=token, proxy=relay.address)
        finally:
            relay.close()
