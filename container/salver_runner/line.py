"""The line: the live connection to the server, which may be cut at any time.

Frames are JSON objects, one a line. To the server: `hello`, `ring` (look at outbound.db), `live`
(what the turn is doing; lost when the line is cut, nothing else is), `pong`. From the server:
`ring` (look at inbound.db), `retire` (leave when nothing is pending), `cancel` (the turn shows no
progress: end it as failed), `ping`.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from salver_runner.clock import elapsed
from salver_runner.launch import PROTOCOL

RETRY = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to reach a server that is not there; the last one repeats."""
COALESCE = 0.04
"""Seconds over which live text is gathered: at most 25 frames a second."""
LONGEST_FRAME = 60_000
"""Characters of live text in one frame; the server cuts the line at longer lines."""


class Line:
    def __init__(
        self,
        path: Path,
        *,
        generation: int,
        rung: Callable[[], None],
        given_up: Callable[[], None],
    ) -> None:
        """`rung`: look at inbound.db; `given_up`: end the running turn, the server sees no progress."""
        self._path = path
        self._generation = generation
        self._rung = rung
        self._given_up = given_up
        self._writer: asyncio.StreamWriter | None = None
        self._text: list[str] = []
        self._turn = 0
        self._sent_at = 0.0
        self._flush: asyncio.TimerHandle | None = None
        self.retiring = False

    @property
    def connected(self) -> bool:
        return self._writer is not None

    async def keep(self) -> None:
        """Connect, listen, connect again; runs until cancelled."""
        failures = 0
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(RETRY[min(failures, len(RETRY) - 1)])
                failures += 1
                continue
            failures = 0
            self._writer = writer
            self._send({"frame": "hello", "generation": self._generation, "protocol": PROTOCOL})
            # Rows written while the line was cut have rung nobody.
            self.ring()
            self._rung()
            try:
                await self._listen(reader)
            except OSError:
                pass
            finally:
                self._writer = None
                writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            match json.loads(line).get("frame"):
                case "ring":
                    self._rung()
                case "retire":
                    self.retiring = True
                    self._rung()
                case "cancel":
                    self._given_up()
                case "ping":
                    self._send({"frame": "pong"})
                case _:
                    pass

    def ring(self) -> None:
        """Tell the server to look at outbound.db."""
        self._send({"frame": "ring"})

    def text(self, turn: int, delta: str) -> None:
        """Live text of the reply that is being written."""
        if turn != self._turn:
            self.flush()
            self._turn = turn
        self._text.append(delta)
        if self._flush is None:
            wait = max(0.0, self._sent_at + COALESCE - elapsed())
            self._flush = asyncio.get_running_loop().call_later(wait, self.flush)

    def again(self, turn: int, text: str) -> None:
        """What was said so far is void; this stands in its place and is gone on from."""
        self.flush()
        self._send({"frame": "live", "turn": turn, "kind": "again", "text": text[:LONGEST_FRAME]})

    def quiet(self, turn: int, seconds: float) -> None:
        """Nothing may be heard of this turn for so long, and it is not stuck: a model thinks."""
        self.flush()
        self._send({"frame": "live", "turn": turn, "kind": "text", "text": "", "seconds": seconds})

    def flush(self) -> None:
        """Send the gathered text now, so that what follows comes after it."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        text, self._text = "".join(self._text), []
        for start in range(0, len(text), LONGEST_FRAME):
            part = text[start : start + LONGEST_FRAME]
            self._send({"frame": "live", "turn": self._turn, "kind": "text", "text": part})
        self._sent_at = elapsed()

    def tool(self, turn: int, kind: str, text: str, *, seconds: float = 0) -> None:
        """A tool call (`tool`), a piece of its output (`output`) or its end (`tool-end`).

        `seconds` is how long the call may be silent without being stuck.
        """
        self.flush()
        text = text[:LONGEST_FRAME]
        self._send({"frame": "live", "turn": turn, "kind": kind, "text": text, "seconds": seconds})

    def _send(self, frame: dict[str, object]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(frame, ensure_ascii=False).encode() + b"\n")
