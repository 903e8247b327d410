"""One HTTP/1.1 exchange with a sandbox, which may send anything: every length and wait is bounded.

A connection carries one call and is closed: on a unix socket a new one costs next to nothing, and
nothing is left open between calls. An answer that is cut off ends without its last chunk, so that the
sandbox can tell it from a whole one.
"""

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import h11

MIB = 1024 * 1024
LONGEST_HEAD = 16 * 1024
LONGEST_BODY = 32 * MIB
MOST_DISCARDED = 64 * MIB
"""Of a body that is not wanted, or beyond the longest, this much is read before the answer."""
MOST_IN_A_ROW = 100
"""Pieces of a body that are read before others have their turn."""
WRITING = 60.0
"""Seconds that a sandbox may leave an answer unread."""
CODE = "x-salver-code"
"""Says that an error is our own; no upstream's header of that name comes back."""
TOKEN_HEADERS = ("authorization", "x-api-key", "x-goog-api-key")


class Refused(Exception):
    """The call ends here, with this status and this error for the model client."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    method: str
    path: str
    """As sent, with whatever follows it: nothing is decoded."""
    headers: dict[str, str]
    tokens: tuple[str, ...]
    """Whatever it bears as a key, in the places where models' clients put theirs."""

    @property
    def token(self) -> str:
        """The one token; empty if there is none, or more than one."""
        return self.tokens[0] if len(self.tokens) == 1 else ""

    @property
    def turn(self) -> int:
        """The turn that the call is made in, as the runner says; 0 where it says nothing."""
        turn = self.headers.get("x-salver-turn", "")
        return int(turn) if re.fullmatch(r"[0-9]{1,9}", turn) else 0


class Exchange:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
        self._bodiless = False
        self._seen_off = False
        self.status = 0
        """Of the answer, once it has begun."""

    async def head(self) -> Head:
        """Raises `Refused` for what is no HTTP."""
        event = await self._event()
        if not isinstance(event, h11.Request):
            raise ConnectionAbortedError
        self._bodiless = event.method == b"HEAD"
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers
        ]
        return Head(
            method=event.method.decode("latin-1"),
            path=event.target.decode("latin-1"),
            headers=dict(headers),
            tokens=tuple(_token(name, value) for name, value in headers if name in TOKEN_HEADERS),
        )

    async def body(self, longest: int) -> bytes | None:
        """The request's body; None for a longer one, which is read and thrown away."""
        # Not a list of parts, whose number and size the sandbox would choose.
        body = bytearray()
        length = pieces = 0
        while isinstance(event := await self._event(), h11.Data):
            length += len(event.data)
            if length <= longest:
                body += event.data
            else:
                body.clear()
            if length > longest + MOST_DISCARDED:
                break
            pieces += 1
            if pieces % MOST_IN_A_ROW == 0:
                await asyncio.sleep(0)
        return bytes(body) if length <= longest else None

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            while (event := self._conn.next_event()) is h11.NEED_DATA:
                data = await self.reader.read(65536)
                if not data:
                    raise ConnectionAbortedError
                self._conn.receive_data(data)
        except h11.RemoteProtocolError as exc:
            raise Refused(400, "bad_request", "The gateway could not read the request.") from exc
        return event

    async def hung_up(self) -> None:
        """Return when the sandbox has hung up; more than the one request counts as that too."""
        try:
            await self.reader.read(1)
        except OSError:
            return

    def hand_over(self) -> bytes:
        """Agree to a CONNECT: from now on the streams are the caller's; what already came is returned."""
        self.status = 200
        self.writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return self._conn.trailing_data[0]

    async def refuse(self, refusal: Refused, *, reason: str = "") -> Literal[True]:
        """Answer with an error, whole; the reason is said in the status line."""
        error = {
            "message": str(refusal),
            "type": "invalid_request_error" if refusal.status < 500 else "api_error",
            "param": None,
            "code": refusal.code,
        }
        body = json.dumps({"error": error}).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            (CODE, refusal.code),
        ]
        self.begin(refusal.status, headers, reason=reason)
        await self.send(b"" if self._bodiless else body)
        return True

    def begin(self, status: int, headers: Iterable[tuple[str, str]], *, reason: str = "") -> None:
        self.status = status
        self._write(
            h11.Response(
                status_code=status,
                headers=[*headers, ("connection", "close")],
                reason=reason.encode("ascii", "replace"),
            )
        )

    async def send(self, part: bytes) -> None:
        """A piece of the answer's body, at once."""
        if part:
            self._write(h11.Data(data=part))
        async with asyncio.timeout(WRITING):
            await self.writer.drain()

    async def finish(self) -> None:
        """End the answer as whole and see it off."""
        if self._conn.our_state is h11.SEND_BODY:
            self._write(h11.EndOfMessage())
        self.writer.close()
        async with asyncio.timeout(WRITING):
            await self.writer.wait_closed()
        self._seen_off = True

    def cut(self) -> None:
        """Close at once; an answer that is not finished is seen to be cut off."""
        # A transport that was closed while it still had something to write cannot be aborted any more.
        if not self._seen_off:
            self.writer.transport.abort()

    def _write(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        data = self._conn.send(event)
        if data:
            self.writer.write(data)


def _token(header: str, value: str) -> str:
    if header != "authorization":
        return value
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
