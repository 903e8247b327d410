"""Reading what sandboxes have written, with a deadline: the server's side of the killable place."""

import asyncio
import contextlib
import json
import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from salver_server.errors import Broken, Transient

DEADLINE = 2.0
"""Seconds for one read; a reader that needs longer is killed."""
STRIKES = 3
"""Reads in a row that end so before the file is not trusted any more."""
CHILDREN = 2
"""Readers that are kept; each reads a thousand ordinary files a second."""
MOST_EXTRA = 6
"""Readers beyond them, while those that they stand in for hang over one file each."""
PATIENCE = 0.1
"""Seconds for one read before another reader stands in: it takes a thousandth."""
TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
LONGEST_ANSWER = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of outbound.db as found: shapes are checked by whoever uses it."""

    seq: int
    turn: int
    attempt: int
    kind: str
    message: int | None
    at: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one read found."""

    found: Literal["read", "absent"]
    rows: tuple[Row, ...] = ()
    more: bool = False
    generation: int = 0
    file: tuple[int, int] = (0, 0)
    size: int = 0
    """Characters of the rows' bodies."""


class Torn(Transient):
    """A journal lies beside the file: its writer is at work, or died and must be healed."""


class Reading:
    def __init__(self) -> None:
        self._schema = _expected_schema()
        self._strikes: dict[Path, tuple[int, int]] = {}
        """By folder: the epoch of the file that they are against, and how many."""
        self._idle: asyncio.LifoQueue[_Child | None] = asyncio.LifoQueue()
        for _ in range(CHILDREN):
            self._idle.put_nowait(None)
        self._slow: list[_Turn] = []
        """Reads that take long and that nobody stands in for, the longest first."""
        self._extra = 0

    async def read(self, folder: Path, *, epoch: int, after: int) -> Page:
        """Rows above `after` of the outbound.db in `folder`.

        Raises `Transient` when it is locked, `Torn` when it must be healed first, `Broken` when it is
        not a file that a runner of ours writes.
        """
        request = {"folder": str(folder), "epoch": epoch, "after": after, "schema": self._schema}
        try:
            answer = await self._ask(request)
        except (TimeoutError, EOFError) as exc:
            raise self._struck(folder, epoch) from exc
        self._strikes.pop(folder, None)
        return _page(answer)

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        child = await self._idle.get()
        turn = _Turn()
        timer = asyncio.get_running_loop().call_later(PATIENCE, self._found_slow, turn)
        try:
            child = child or await _Child.start()
            try:
                return await _in_time(child, request)
            except BaseException:
                await child.end()
                child = None
                raise
        finally:
            timer.cancel()
            await self._hand_back(child, turn)

    async def _hand_back(self, child: "_Child | None", turn: "_Turn") -> None:
        if turn.relieved:
            self._extra -= 1
            self._relieve()
            if child is not None:
                await child.end()
            return
        if turn in self._slow:
            self._slow.remove(turn)
        self._idle.put_nowait(child)

    def _found_slow(self, turn: "_Turn") -> None:
        self._slow.append(turn)
        self._relieve()

    def _relieve(self) -> None:
        """Let others stand in for slow readers: nobody is to wait for somebody else's file."""
        while self._slow and self._extra < MOST_EXTRA:
            self._slow.pop(0).relieved = True
            self._extra += 1
            self._idle.put_nowait(None)

    def _struck(self, folder: Path, epoch: int) -> Transient | Broken:
        """A reader hung or died over this file: that may be the machine's fault, but not every time."""
        known, strikes = self._strikes.get(folder, (epoch, 0))
        strikes = strikes + 1 if known == epoch else 1
        if strikes < STRIKES:
            self._strikes[folder] = (epoch, strikes)
            return Transient("outbound.db could not be read in time", retry_after=strikes * 0.1)
        self._strikes.pop(folder, None)
        return Broken(
            f"{STRIKES} times, reading it took longer than {DEADLINE:g} s or ended the reader"
        )

    async def close(self) -> None:
        for _ in range(CHILDREN):
            if (child := await self._idle.get()) is not None:
                await child.end()


@dataclass(slots=True, eq=False)
class _Turn:
    """One read by one reader."""

    relieved: bool = False
    """Its place was given to another reader: it ends with this read."""


class _Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @staticmethod
    async def start() -> "_Child":
        program = str(resources.files("salver_server.sessions").joinpath("reader.py"))
        return _Child(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                program,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_ANSWER,
                # Ctrl-C in a terminal goes to the whole group; readers end when we say so.
                start_new_session=True,
            )
        )

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


async def _in_time(child: _Child, request: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        return await child.ask(request)


@asynccontextmanager
async def open_reading() -> AsyncGenerator[Reading]:
    reading = Reading()
    try:
        yield reading
    finally:
        await reading.close()


def _page(answer: dict[str, Any]) -> Page:
    match answer["is"]:
        case "read":
            return Page(
                found="read",
                rows=tuple(_row(values) for values in answer["rows"]),
                more=answer["more"],
                generation=answer["generation"],
                file=(answer["file"][0], answer["file"][1]),
                size=sum(len(values[-1]) for values in answer["rows"]),
            )
        case "absent":
            return Page(found="absent")
        case "busy":
            raise Transient("outbound.db is locked", retry_after=0.005)
        case "torn":
            raise Torn("outbound.db has a journal beside it", retry_after=0.02)
        case _:
            raise Broken(answer["why"])


def _row(values: list[Any]) -> Row:
    seq, turn, attempt, kind, message, at, body = values
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise Broken(f"row {seq} holds no JSON") from exc
    if not isinstance(parsed, dict):
        raise Broken(f"row {seq} holds no JSON object")
    fields = cast(dict[str, Any], parsed)
    return Row(seq=seq, turn=turn, attempt=attempt, kind=kind, message=message, at=at, body=fields)


def _expected_schema() -> list[list[str]]:
    script = resources.files("salver_server.sessions").joinpath("outbound.sql")
    conn = sqlite3.connect(":memory:")
    try:
        conn.executescript(script.read_text(encoding="utf-8"))
        return [list(row) for row in conn.execute(TABLES)]
    finally:
        conn.close()
