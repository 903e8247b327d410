"""One client's connection, and what it asks."""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any

import h11

Json = dict[str, Any]


class HungUp(Exception):
    """The client left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json

    @property
    def messages(self) -> list[Json]:
        """Of a chat."""
        return self.body["messages"]

    @property
    def user_texts(self) -> list[str]:
        """Of a chat."""
        return [text(message) for message in self.messages if message["role"] == "user"]


def text(message: Json) -> str:
    """What a chat's message says."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


class Peer:
    """A client's connection, which it may keep for further requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._conn = h11.Connection(h11.SERVER)

    async def request(self) -> Received | None:
        head = await self._event()
        if not isinstance(head, h11.Request):
            return None
        body = b""
        while isinstance(event := await self._event(), h11.Data):
            body += bytes(event.data)
        return Received(
            method=head.method.decode(),
            path=head.target.decode(),
            headers={name.decode(): value.decode() for name, value in head.headers},
            body=json.loads(body) if body else {},
        )

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._conn.next_event()) is h11.NEED_DATA:
            self._conn.receive_data(await self._reader.read(65536))
        return event

    async def answer(self, status: int, body: Json, headers: list[tuple[str, str]]) -> None:
        await self.begin(status, [("content-type", "application/json"), *headers])
        await self.send(json.dumps(body).encode())
        await self.end()

    async def begin(self, status: int, headers: list[tuple[str, str]]) -> None:
        await self._send(h11.Response(status_code=status, headers=headers))

    async def send(self, data: bytes) -> None:
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    def stays(self) -> bool:
        """Whether the client may send another request, and ready for it if so."""
        stays = self._conn.our_state is self._conn.their_state is h11.DONE
        if stays:
            self._conn.start_next_cycle()
        return stays

    async def pause(self, seconds: float) -> None:
        """Wait; raises `HungUp` as soon as the client has left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reader.read(1)
                raise HungUp

    async def stand_still(self, released: asyncio.Event) -> None:
        while not released.is_set():
            await self.pause(0.02)

    async def _send(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        self._writer.write(self._conn.send(event) or b"")
        await self._writer.drain()
