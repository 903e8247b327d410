"""The server's end of the line: doorbells and live events of one runner, orders to it.

A directory per session holds the socket, so that one made anew after a restart is seen inside. What
comes in is only ever a hint or a picture of what goes on; the databases hold what counts.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from salver_server.ids import SessionId
from salver_server.kit.pace import Pace
from salver_server.messages import Progress
from salver_server.runtimes import Identity
from salver_server.sessions.folders import give

LONGEST_FRAME = 512 * 1024
"""Bytes of one frame; a longer one cuts the line."""
LONGEST_TEXT = 60_000
"""Characters of live text in one frame; what is longer is cut off."""
MOST_CONNECTIONS = 4
"""Connections of one sandbox at a time; only the latest greeting counts."""
FRAMES_A_SECOND = 200
"""A runner sends at most 25 live frames and some rings a second; whoever floods is read more slowly."""
BYTES_A_SECOND = 1024 * 1024
"""Reading them takes time from everyone."""
MOST_UNREAD = 64 * 1024
"""Bytes that a runner may leave unread; who reads nothing needs no further doorbell."""
PROTOCOL = 1
"""Version of the bus and the line; a runner of another one is told by its launch record."""


def listening(path: Path, identity: Identity) -> socket.socket:
    """A unix socket at `path`, made anew, that only this user may connect to."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    path.chmod(0o600)
    give(path, identity)
    return sock


LiveKind = Literal["text", "again", "tool", "output", "tool-end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Who is told of what a runner says on its line."""

    rang: Callable[[SessionId], None]
    progressed: Callable[[Progress, float], None]
    """Live progress, and how many seconds the runner asks to be left alone for it."""
    answered: Callable[[SessionId], None]
    """The runner greeted, or answered a ping."""


class Line:
    """The line of one live session."""

    def __init__(self, session: SessionId, generation: int, heard: Heard) -> None:
        self._session = session
        self._generation = generation
        self._heard = heard
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._frames, self._bytes = Pace(FRAMES_A_SECOND), Pace(BYTES_A_SECOND)

    async def open(self, path: Path, identity: Identity) -> None:
        """Listen at `path`, made anew, for the sandbox's user alone."""
        self._server = await asyncio.start_unix_server(
            self._serve,
            sock=listening(path, identity),
            limit=LONGEST_FRAME,
            # So many are accepted in one go, before anyone else has their turn.
            backlog=MOST_CONNECTIONS,
        )

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._connections):
            writer.close()

    @property
    def connected(self) -> bool:
        return self._writer is not None

    def ring(self) -> None:
        """There is something new in inbound.db."""
        self._send("ring")

    def retire(self) -> None:
        """Leave as soon as nothing is pending."""
        self._send("retire")

    def ping(self) -> None:
        self._send("ping")

    def cancel(self) -> None:
        """End the running turn as failed: it shows no progress."""
        self._send("cancel")

    def _send(self, frame: str) -> None:
        if (
            self._writer is not None
            and not self._writer.is_closing()
            and self._writer.transport.get_write_buffer_size() < MOST_UNREAD
        ):
            self._writer.write(json.dumps({"frame": frame}).encode() + b"\n")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MOST_CONNECTIONS:
            writer.close()
            return
        self._connections.add(writer)
        try:
            # An overlong line, a cut or a wrong one ends this connection, nothing else.
            with contextlib.suppress(OSError, ValueError, ArithmeticError, RecursionError):
                while line := await reader.readline():
                    # First, so that it slows down whoever is cut and comes back at once, too.
                    await self._frames.keep()
                    await self._bytes.keep(len(line))
                    self._hear(json.loads(line), writer)
        finally:
            self._connections.discard(writer)
            if self._writer is writer:
                self._writer = None
            writer.close()

    def _hear(self, frame: Any, writer: asyncio.StreamWriter) -> None:
        if not isinstance(frame, dict):
            raise ValueError("a frame is an object")
        fields = cast(dict[str, Any], frame)
        match fields.get("frame"):
            case "hello":
                if (
                    fields.get("generation") == self._generation
                    and fields.get("protocol") == PROTOCOL
                ):
                    self._writer = writer
                    self._heard.answered(self._session)
            case "ring":
                self._heard.rang(self._session)
            case "pong":
                self._heard.answered(self._session)
            case "live":
                self._live(fields)
            case _:
                pass

    def _live(self, fields: dict[str, Any]) -> None:
        turn, kind, text, seconds = (
            fields.get("turn"),
            fields.get("kind"),
            fields.get("text"),
            fields.get("seconds", 0),
        )
        if not (
            isinstance(turn, int) and isinstance(text, str) and isinstance(seconds, int | float)
        ):
            raise ValueError("a live frame has a turn and a text")
        if kind not in get_args(LiveKind):
            raise ValueError("a live frame has a known kind")
        text.encode()  # a ValueError too, for half of a character
        text = text[:LONGEST_TEXT]
        # A frame without text only asks for patience.
        progress = Progress(session=self._session, turn=turn, kind=cast(LiveKind, kind), text=text)
        self._heard.progressed(progress, float(seconds))
