"""outbound.db: the runner's own file, where a turn ends in one transaction.

Every transaction begins by proving that this runner still owns the file. Whoever finds a greater
generation there leaves at once; whoever finds no owner, or another epoch, writes nothing.
"""

import json
import sqlite3
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from salver_runner.clock import stamp
from salver_runner.failpoint import failpoint
from salver_runner.workspace.outgoing import Sent

Outcome = Literal["answered", "failed", "stopped", "cancelled", "seen", "done"]
"""Of a message: answered, failed, stopped, cancelled. Of a cancel: cancelled or seen. Of a stop or a
clear: done. Of a compact: done, failed, stopped.
"""

BUSY = 5.0
"""Seconds that SQLite waits for a reader before it gives up."""
COMMIT_TRIES = 6


class Ousted(Exception):
    """The file has another owner, or is not the file that this runner was launched on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    seq: int
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What an attempt that was cut off had already done."""

    kind: Literal["send", "tool"]
    body: str


class Outbox:
    def __init__(self, path: Path, *, epoch: int, generation: int, read: int) -> None:
        """Open or create the file and become its owner; raises `Ousted` when it cannot be.

        `read` is the seq up to which the server has read this file: what was acknowledged up to
        there is settled in inbound.db, so that a start never walks through the whole history.
        """
        self.epoch = epoch
        self.files = path.parent / "files"
        """Where what is sent lies for the server to take."""
        self._generation = generation
        self._conn = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
        self._conn.execute("PRAGMA synchronous=FULL")
        self._take_over()
        self.done: set[int] = {
            row[0]
            for row in self._conn.execute(
                "SELECT message FROM log WHERE seq > ? AND kind = 'ack'", (read,)
            )
        }
        """Every inbound seq above the watermark that this file has acknowledged."""
        self.watermark = 0
        """Every inbound seq up to here is acknowledged in this file or settled by the server."""

    def _take_over(self) -> None:
        conn = self._conn
        conn.execute("BEGIN IMMEDIATE")
        fresh = conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        if fresh:
            schema = (
                resources.files("salver_runner")
                .joinpath("outbound.sql")
                .read_text(encoding="utf-8")
            )
            for statement in schema.split(";"):
                if statement.strip():
                    conn.execute(statement)
            conn.execute(
                "INSERT INTO owner (id, epoch, generation) VALUES (1, ?, ?)",
                (self.epoch, self._generation),
            )
            failpoint("runner.create")
        else:
            owner = conn.execute("SELECT epoch, generation FROM owner WHERE id = 1").fetchone()
            if owner is None or owner[0] != self.epoch or owner[1] > self._generation:
                conn.execute("ROLLBACK")
                raise Ousted(
                    f"outbound.db belongs to {owner}, not to generation {self._generation}"
                )
            conn.execute("UPDATE owner SET generation = ? WHERE id = 1", (self._generation,))
        self._commit()

    def settle(self, ranges: tuple[tuple[int, int], ...]) -> None:
        """Raise the watermark over everything that is done here or settled by the server."""
        while True:
            following = self.watermark + 1
            if following in self.done:
                self.done.discard(following)
                self.watermark = following
                continue
            last = next((b for a, b in ranges if a <= following <= b), None)
            if last is None:
                return
            self.watermark = last
            self.done = {seq for seq in self.done if seq > last}

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        conn = self._conn
        conn.execute("BEGIN IMMEDIATE")
        try:
            owner = conn.execute("SELECT epoch, generation FROM owner WHERE id = 1").fetchone()
            if owner != (self.epoch, self._generation):
                raise Ousted(
                    f"outbound.db belongs to {owner}, not to generation {self._generation}"
                )
            yield conn
            self._commit()
        except BaseException:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise

    def _commit(self) -> None:
        # An open reader makes COMMIT itself fail; the transaction stays open and may be tried again.
        for attempt in range(COMMIT_TRIES):
            try:
                self._conn.execute("COMMIT")
                return
            except sqlite3.OperationalError:
                if attempt == COMMIT_TRIES - 1 or not self._conn.in_transaction:
                    raise
                time.sleep(0.05)

    def next_turn(self) -> int:
        last = self._conn.execute(
            "SELECT turn FROM log WHERE turn > 0 ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        return last[0] + 1 if last else 1

    def claim(self, turn: int, attempt: int, seqs: list[int]) -> None:
        """Say that these messages are about to be part of a request to the model."""
        failpoint("runner.before-claim")
        with self._transaction() as conn:
            for seq in seqs:
                _append(conn, turn, attempt, "claim", seq, {})
            failpoint("runner.in-claim")
        failpoint("runner.after-claim")

    def send(self, turn: int, attempt: int, text: str, files: Sequence[Sent] = ()) -> None:
        """A message before the end of the turn, with files that lie in out/ already; sent at least once."""
        body: dict[str, object] = {"text": text}
        if files:
            body["files"] = [asdict(file) for file in files]
        with self._transaction() as conn:
            _append(conn, turn, attempt, "send", None, body)
            failpoint("runner.in-send")
        failpoint("runner.after-send")

    def tool(self, turn: int, attempt: int, name: str, arguments: object) -> None:
        """A tool is about to act; written first, so that a retried turn can be told."""
        with self._transaction() as conn:
            _append(conn, turn, attempt, "tool", None, {"name": name, "arguments": arguments})
            failpoint("runner.in-tool")
        failpoint("runner.after-tool")

    def answer_controls(self, acks: list[Ack]) -> None:
        """Acknowledge orders, and the messages that they ended, outside a turn's own end."""
        with self._transaction() as conn:
            for ack in acks:
                _append_ack(conn, 0, 0, ack)
            failpoint("runner.in-control")
        self.done.update(ack.seq for ack in acks)

    def close(
        self,
        turn: int,
        attempt: int,
        *,
        acks: list[Ack],
        released: list[int],
        reply: Mapping[str, object] | None,
        continuation: tuple[str, Sequence[object]] | None,
        anew: bool = False,
        context: Mapping[str, object] | None = None,
    ) -> None:
        """End the turn: reply, acknowledgements, releases, continuation and context, all or nothing.

        With `anew` the conversation goes on from this continuation alone.
        """
        failpoint("runner.before-close")
        with self._transaction() as conn:
            if reply is not None:
                _append(conn, turn, attempt, "reply", None, reply)
            for ack in acks:
                _append_ack(conn, turn, attempt, ack)
            failpoint("runner.in-close")
            for seq in released:
                _append(conn, turn, attempt, "release", seq, {})
            if continuation is not None:
                _append_kept(conn, turn, attempt, continuation, anew=anew)
            if context is not None:
                _append(conn, turn, attempt, "context", None, context)
        self.done.update(ack.seq for ack in acks)
        failpoint("runner.after-close")

    def reset(
        self,
        turn: int,
        attempt: int,
        *,
        acks: list[Ack],
        send: str = "",
        anew: tuple[str, Sequence[object]] | None = None,
    ) -> None:
        """End an order about the memory: what is said of it, and what the conversation begins anew with, if it does."""
        with self._transaction() as conn:
            if anew is not None:
                _append_kept(conn, turn, attempt, anew, anew=True)
            failpoint("runner.in-reset")
            if send:
                _append(conn, turn, attempt, "send", None, {"text": send})
            for ack in acks:
                _append_ack(conn, turn, attempt, ack)
        self.done.update(ack.seq for ack in acks)
        failpoint("runner.after-reset")

    def history(self, provider: str) -> list[object]:
        """Every provider message of this file's turns since the conversation last began anew, oldest first."""
        rows = self._conn.execute(
            "SELECT body FROM log WHERE kind = 'continuation' AND seq >= ? ORDER BY seq",
            (self._last_reset() or 0,),
        )
        bodies = (json.loads(row[0]) for row in rows)
        return [
            message
            for body in bodies
            if body["provider"] == provider
            for message in body["messages"]
        ]

    def began_anew(self) -> bool:
        """Whether the conversation began anew in this file: what earlier ones kept is no part of it."""
        return self._last_reset() is not None

    def _last_reset(self) -> int | None:
        # From the end: what lies before it may be the work of years. The mark is the last word of its body.
        row = self._conn.execute(
            "SELECT seq FROM log WHERE kind = 'continuation' AND substr(body, -13) = '\"reset\":true}'"
            " ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        return row[0] if row else None

    def traces(self, seqs: list[int]) -> list[Trace]:
        """What earlier, unfinished turns over any of these messages sent and did, in order."""
        rows = self._conn.execute(
            "SELECT kind, body FROM log WHERE kind IN ('send', 'tool') AND turn IN"
            " (SELECT turn FROM log WHERE kind = 'claim'"
            " AND message IN (SELECT value FROM json_each(?)))"
            " AND turn NOT IN (SELECT turn FROM log WHERE kind IN ('ack', 'release'))"
            " ORDER BY seq",
            (json.dumps(seqs),),
        )
        return [Trace(kind=kind, body=body) for kind, body in rows]

    def turns(self, *, after: int) -> list[tuple[int, str, int | None, str, str]]:
        """Rows above `after` as (seq, kind, message, at, body): what the transcript is made of."""
        return self._conn.execute(
            "SELECT seq, kind, message, at, body FROM log WHERE seq > ? ORDER BY seq", (after,)
        ).fetchall()


def _append_kept(
    conn: sqlite3.Connection,
    turn: int,
    attempt: int,
    continuation: tuple[str, Sequence[object]],
    *,
    anew: bool,
) -> None:
    provider, messages = continuation
    kept = {"provider": provider, "messages": messages}
    # The mark comes last: it is looked for there.
    _append(conn, turn, attempt, "continuation", None, kept | {"reset": True} if anew else kept)


def _append_ack(conn: sqlite3.Connection, turn: int, attempt: int, ack: Ack) -> None:
    body = {"outcome": ack.outcome, "reason": ack.reason}
    _append(conn, turn, attempt, "ack", ack.seq, body)


def _append(
    conn: sqlite3.Connection,
    turn: int,
    attempt: int,
    kind: str,
    message: int | None,
    body: Mapping[str, object],
) -> None:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    # A model may have said half of a character, which no file can hold.
    text = text.encode(errors="replace").decode()
    conn.execute(
        "INSERT INTO log (turn, attempt, kind, message, at, body) VALUES (?, ?, ?, ?, ?, ?)",
        (turn, attempt, kind, message, stamp(), text),
    )


def heal(path: Path) -> None:
    """Roll back whatever a dead runner left half-written, by the mere opening of the file."""
    if not path.is_file():
        return
    conn = sqlite3.connect(path, timeout=BUSY)
    try:
        conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    finally:
        conn.close()
