"""The line: the live connection to the server, which may be cut at any time.

Frames are JSON objects, one a line. To the server: `hello`, `ring` (look at outbound.db), `live`
(what the turn is doing; lost when the line is cut, nothing else is), `pong`. From the server:
`ring` (look at inbound.db), `retire` (leave when nothing is pending), `cancel` (the turn shows no
progress: end it as failed), `ping`.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path

from salver_runner.clock import elapsed
from salver_runner.launch import PROTOCOL

RETRY = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to reach a server that is not there; the last one repeats."""
PATIENCE = 0.5
"""Seconds for the first attempt; it takes less than one thousandth of that."""
COALESCE = 0.04
"""Seconds over which live text is gathered: at most 25 frames a second."""
SOON = 0.02
"""Seconds; a quick turn takes a fifth of it, and nobody sees a state that lasts no longer."""
LONGEST_FRAME = 60_000
"""Characters of live text in one frame; the server cuts the line at longer lines."""
MOST_UNSENT = 1_000_000
"""Bytes that may wait for a server which reads slowly; beyond them live text is left out."""


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
        self._failures = 0
        """Connections in a row that could not be made, or brought nothing."""
        self._tried = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._gathered: list[str] = []
        self._gathering = (0, "text")
        """Turn and kind of what is gathered."""
        self._size = 0
        self._sent_at = 0.0
        self._flush: asyncio.TimerHandle | None = None
        self._ringing: asyncio.TimerHandle | None = None
        self._silence = (0, 0.0)
        """A turn, and until when it may be silent without being stuck."""
        self.retiring = False

    @property
    def connected(self) -> bool:
        return self._writer is not None

    async def tried(self) -> None:
        """Return once the line stands or cannot be had for now: what is said earlier is lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._tried.wait()

    async def keep(self) -> None:
        """Connect, listen, connect again; runs until cancelled."""
        while True:
            with contextlib.suppress(OSError):
                await self._stay_connected()
            self._tried.set()
            await asyncio.sleep(RETRY[min(self._failures, len(RETRY) - 1)])
            self._failures += 1

    async def _stay_connected(self) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._path))
        self._writer = writer
        try:
            self._send({"frame": "hello", "generation": self._generation, "protocol": PROTOCOL})
            self._tried.set()
            # Rows written while the line was cut have rung nobody.
            self.ring()
            self._rung()
            await self._listen(reader)
        finally:
            self._writer = None
            writer.close()
            # Whoever waits for the bell must know that nobody rings it any more.
            self._rung()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            # Only now: a server that hangs up at once must not be called again and again.
            self._failures = 0
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
                    self._explain_silence()
                case _:
                    pass

    def ring(self) -> None:
        """Tell the server to look at outbound.db."""
        if self._ringing is not None:
            self._ringing.cancel()
            self._ringing = None
        self._send({"frame": "ring"})

    def ring_soon(self) -> None:
        """The same, unless a ring comes first: one look may see the beginning and the end of a quick turn."""
        if self._ringing is None:
            self._ringing = asyncio.get_running_loop().call_later(SOON, self.ring)

    def text(self, turn: int, delta: str) -> None:
        """Live text of the reply that is being written."""
        self._gather(turn, "text", delta)

    def again(self, turn: int, text: str) -> None:
        """What was said so far is void; this stands in its place and is gone on from."""
        self.flush()
        self._live(turn, "again", text[:LONGEST_FRAME])

    def quiet(self, turn: int, seconds: float) -> None:
        """Nothing may be heard of this turn for so long, and it is not stuck: a model thinks."""
        self.flush()
        self._live(turn, "text", "", seconds)

    def tool(self, turn: int, kind: str, text: str, *, seconds: float = 0) -> None:
        """A tool call (`tool`), a piece of its output (`output`) or its end (`tool-end`).

        `seconds` is how long the call may be silent without being stuck.
        """
        if kind == "output":
            self._gather(turn, kind, text)
            return
        self.flush()
        self._live(turn, kind, text[:LONGEST_FRAME], seconds)

    def _gather(self, turn: int, kind: str, text: str) -> None:
        if self._gathering != (turn, kind):
            self.flush()
            self._gathering = (turn, kind)
        # A tool may pour out more than anybody could read; of a reply every word counts.
        room = LONGEST_FRAME - self._size if kind == "output" else len(text)
        self._gathered.append(text[: max(0, room)])
        self._size += len(text)
        if self._flush is None:
            wait = max(0.0, self._sent_at + COALESCE - elapsed())
            self._flush = asyncio.get_running_loop().call_later(wait, self.flush)

    def flush(self) -> None:
        """Send what was gathered now, so that what follows comes after it."""
        if self._flush is None:
            return
        self._flush.cancel()
        self._flush = None
        self._sent_at = elapsed()
        text = "".join(self._gathered)
        if lost := self._size - len(text):
            text += f"\n[… {lost} characters left out …]\n"
        self._gathered.clear()
        self._size = 0
        if self._writer is None or self._writer.transport.get_write_buffer_size() > MOST_UNSENT:
            return
        for start in range(0, len(text), LONGEST_FRAME):
            self._live(*self._gathering, text[start : start + LONGEST_FRAME])

    def _explain_silence(self) -> None:
        """Say once more how long the turn may be silent: the server may be another one by now."""
        turn, until = self._silence
        if (left := until - elapsed()) > 0:
            self._live(turn, "text", "", left)

    def _live(self, turn: int, kind: str, text: str, seconds: float = 0) -> None:
        if seconds or kind == "tool-end":
            self._silence = (turn, elapsed() + seconds)
        self._send({"frame": "live", "turn": turn, "kind": kind, "text": text, "seconds": seconds})

    def _send(self, frame: dict[str, object]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            # A model may have said half of a character; that must not end its turn.
            text = json.dumps(frame, ensure_ascii=False)
            self._writer.write(text.encode(errors="replace") + b"\n")
