"""The server's side of one session, by hand: it writes inbound.db, reads outbound.db, holds the line."""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
from asyncio import Task, TaskGroup
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from salver_runner.launch import Launch, Limits
from salver_runner.line import Line
from salver_runner.loop import Loop
from salver_runner.outbox import Outbox
from salver_runner.web import Web

Found = TypeVar("Found")

INBOUND = Path(__file__).parents[2] / "server" / "salver_server" / "sessions" / "inbound.sql"
EPOCH = 7
WAKING = ("message", "cancel", "stop")
SENT_AT = "2026-11-22T09:57:00.000Z"
LONGEST_FRAME = 512 * 1024
"""Bytes, as the server has it."""
PATIENCE = 20_000.0
"""Seconds that a test waits for something; on a timeless loop they cost nothing."""


async def _no_proxy() -> str:
    raise OSError(99, "There is no loopback here.")


NO_WEB = Web(socket=Path("/nowhere/gateway"), token="token", proxy=_no_proxy)
"""For turns in which nobody looks at the web."""

DIE_WRITING = """
import os, sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("PRAGMA cache_size=1")
conn.execute("BEGIN IMMEDIATE")
conn.execute("CREATE TABLE torn (page)")
conn.executemany("INSERT INTO torn VALUES (?)", [("x" * 4000,)] * 50)
os._exit(0)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of outbound.db."""

    turn: int
    attempt: int
    kind: str
    message: int | None
    body: dict[str, Any]


class Bus:
    """The folders of one session below `root`, as the runner sees them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("in", "out", "home", "line"):
            (root / name).mkdir()
        self.inbound = root / "in" / "inbound.db"
        self.outbound = root / "out" / "outbound.db"
        self.home = root / "home"
        self.line = root / "line" / "line"
        with closing(sqlite3.connect(self.inbound)) as conn:
            conn.executescript(INBOUND.read_text(encoding="utf-8"))
        self._seq = 0

    def write(self, *texts: str, sender: str = "Ada") -> list[int]:
        """Hand messages over, all at once; their numbers."""
        return self._hand_over([("message", None, sender, text) for text in texts])

    def note(self, text: str) -> int:
        return self._hand_over([("note", None, "salver", text)])[0]

    def cancel(self, target: int) -> int:
        return self._hand_over([("cancel", target, "salver", "")])[0]

    def stop(self) -> int:
        return self._hand_over([("stop", None, "salver", "")])[0]

    def clear(self) -> int:
        return self._hand_over([("clear", None, "salver", "")])[0]

    def compact(self) -> int:
        return self._hand_over([("compact", None, "salver", "")])[0]

    def _hand_over(self, rows: list[tuple[str, int | None, str, str]]) -> list[int]:
        numbers = [self._seq + 1 + index for index in range(len(rows))]
        self._seq = numbers[-1]
        with self.handing_over() as conn:
            conn.executemany(
                "INSERT INTO messages (seq, id, kind, target, sender, sent_at, text, tainted, wakes)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)",
                [
                    (seq, f"m-{seq}", kind, target, sender, SENT_AT, text, int(kind in WAKING))
                    for seq, (kind, target, sender, text) in zip(numbers, rows, strict=True)
                ],
            )
        return numbers

    def settle(self, first: int, last: int) -> None:
        """Say that nothing is owed from `first` to `last`."""
        with self.handing_over() as conn:
            conn.execute("INSERT INTO settled (first, last) VALUES (?, ?)", (first, last))

    def remember(self, provider: str, *messages: object) -> None:
        """One turn kept from an earlier file of this session."""
        with self.handing_over() as conn:
            conn.execute(
                "INSERT INTO history (provider, body) VALUES (?, ?)",
                (provider, json.dumps(messages)),
            )

    @contextmanager
    def handing_over(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.inbound)) as conn, conn:
            yield conn

    def rows(self, *kinds: str) -> list[Row]:
        """What outbound.db holds, of these kinds or all, in order."""
        if not self.outbound.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.outbound}?mode=ro", uri=True)) as conn:
            found = conn.execute(
                "SELECT turn, attempt, kind, message, body FROM log ORDER BY seq"
            ).fetchall()
        rows = [
            Row(turn=turn, attempt=attempt, kind=kind, message=message, body=json.loads(body))
            for turn, attempt, kind, message, body in found
        ]
        return [row for row in rows if not kinds or row.kind in kinds]

    def outcomes(self) -> dict[int, str]:
        """How each acknowledged message ended; none is ever acknowledged twice."""
        acks = self.rows("ack")
        found = {ack.message: str(ack.body["outcome"]) for ack in acks if ack.message}
        assert len(found) == len(acks)
        return found

    def replies(self) -> list[str]:
        return [str(row.body["text"]) for row in self.rows("reply")]

    def claims(self) -> list[tuple[int, int | None]]:
        """Turn and message of each claim, in order."""
        return [(row.turn, row.message) for row in self.rows("claim")]

    def launch(
        self,
        *,
        generation: int = 1,
        rounds: int = 50,
        seconds: float = 900,
        provider: str = "demo",
        attempts: dict[int, int] | None = None,
        read: int = 0,
    ) -> Launch:
        return Launch(
            session="ses-1",
            generation=generation,
            epoch=EPOCH,
            read=read,
            agent="house",
            provider=provider,
            models=(),
            instructions="Be kind.",
            token="token",
            limits=Limits(rounds=rounds, seconds=seconds),
            attempts=attempts or {},
            failpoint="",
        )

    def outbox(self, *, generation: int = 1, read: int = 0) -> Outbox:
        return Outbox(self.outbound, epoch=EPOCH, generation=generation, read=read)


def leave_a_hot_journal(path: Path) -> None:
    """What a writer leaves that is killed in the middle of a transaction."""
    subprocess.run([sys.executable, "-I", "-S", "-c", DIE_WRITING, str(path)], check=True)
    assert path.with_name(path.name + "-journal").exists()


class LineEnd:
    """The server's end of the line; an async context manager that can be cut and opened again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._news = asyncio.Event()
        self.frames: list[dict[str, Any]] = []
        self.greetings = 0
        self.reading = asyncio.Event()
        """Cleared, it leaves unread what a runner sends."""
        self.reading.set()

    async def __aenter__(self) -> "LineEnd":
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.cut()

    async def open(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(
            self._serve, path=self._path, limit=LONGEST_FRAME
        )

    async def cut(self) -> None:
        """As when the server dies."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(OSError):
            while await self.reading.wait() and (line := await reader.readline()):
                frame = json.loads(line)
                self.frames.append(frame)
                self.greetings += frame["frame"] == "hello"
                self._news.set()

    def say(self, frame: str) -> None:
        self._writers[-1].write(json.dumps({"frame": frame}).encode() + b"\n")

    def ring(self) -> None:
        self.say("ring")

    def rings(self) -> int:
        return sum(frame["frame"] == "ring" for frame in self.frames)

    def heard(self, *kinds: str) -> list[dict[str, Any]]:
        """Live frames of these kinds or all, in order."""
        live = [frame for frame in self.frames if frame["frame"] == "live"]
        return [frame for frame in live if not kinds or frame["kind"] in kinds]

    def text(self) -> str:
        return "".join(frame["text"] for frame in self.heard("text"))

    async def until(self, true: Callable[[], Found]) -> Found:
        """Wait for frames until they, or the rows that they told of, make this true."""
        async with asyncio.timeout(PATIENCE):
            while not (found := true()):
                self._news.clear()
                await self._news.wait()
            return found


def cut_line(bus: Bus) -> Line:
    """A line that nobody holds the other end of."""

    def unheard() -> None: ...

    return Line(bus.line, generation=1, rung=unheard, given_up=unheard)


@asynccontextmanager
async def running(bus: Bus, launch: Launch | None = None) -> AsyncGenerator[Task[None]]:
    """A real loop at work on this bus; leaving the block ends it, however it stands."""
    launch = launch or bus.launch()
    outbox = Outbox(
        bus.outbound, epoch=launch.epoch, generation=launch.generation, read=launch.read
    )
    loop = Loop(
        launch,
        inbound=bus.inbound,
        outbox=outbox,
        line_socket=bus.line,
        gateway=bus.root / "line" / "gateway",
        home=bus.home,
    )
    async with TaskGroup() as tasks:
        task = tasks.create_task(loop.run(), name="runner")
        yield task
        task.cancel()
