"""What the server has handed over: one snapshot of inbound.db at a time, read-only.

The file is opened for each look and closed at once, so that no reader ever stands in the server's
way, and a file that the server has replaced is seen at the next look.
"""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a message answers, as its sender saw it."""

    sender: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What came with a message; it lies in in/files/<id of the message>/<name>."""

    name: str
    type: str
    """As the server found it by looking inside, such as image/png."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One row that the server handed over; `kind` tells words from orders."""

    seq: int
    id: str
    kind: Literal["message", "note", "cancel", "stop", "clear", "compact"]
    target: int | None
    """The seq that a `cancel` means."""
    sender: str
    sent_at: str
    text: str
    quoted: Quote | None = None
    files: tuple[File, ...] = ()
    wakes: bool
    """False for context that opens no turn by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Rows above a watermark, with what the server says is settled among them."""

    rows: tuple[Message, ...]
    settled: tuple[tuple[int, int], ...]
    """Ranges of seq, first and last included."""

    def pending(self, done: set[int]) -> list[Message]:
        """Rows that are neither settled by the server nor `done` by this file, in order."""
        return [
            row
            for row in self.rows
            if row.seq not in done and not any(a <= row.seq <= b for a, b in self.settled)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    path: Path

    def read(self, *, after: int) -> Snapshot | None:
        """Rows with a seq above `after`; None when the file cannot be read now (ask again soon)."""
        try:
            conn = sqlite3.connect(
                f"file:{self.path}?mode=ro", uri=True, timeout=5, isolation_level=None
            )
        except sqlite3.OperationalError:
            return None
        try:
            conn.execute("BEGIN")
            settled = conn.execute(
                "SELECT first, last FROM settled WHERE last > ? ORDER BY first", (after,)
            ).fetchall()
            # A runner that starts knows no watermark yet, and must not read through the whole history.
            for first, last in settled:
                if first <= after + 1:
                    after = last
            rows = conn.execute(
                "SELECT seq, id, kind, target, sender, sent_at, text, quoted, files, wakes"
                " FROM messages WHERE seq > ? ORDER BY seq",
                (after,),
            ).fetchall()
        except sqlite3.OperationalError:
            # A writer that died in mid-transaction left a journal that only the server can roll back.
            return None
        finally:
            conn.close()
        return Snapshot(
            rows=tuple(
                Message(
                    seq=seq,
                    id=id_,
                    kind=kind,
                    target=target,
                    sender=sender,
                    sent_at=sent_at,
                    text=text,
                    quoted=Quote(**json.loads(quoted)) if quoted else None,
                    files=tuple(File(**one) for one in json.loads(files)),
                    wakes=bool(wakes),
                )
                for seq, id_, kind, target, sender, sent_at, text, quoted, files, wakes in rows
            ),
            settled=tuple(settled),
        )

    def texts(self, seqs: list[int]) -> dict[int, tuple[str, str, str]]:
        """Sender, time and text of these messages, for the transcript."""
        conn = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)
        try:
            rows = conn.execute(
                "SELECT seq, sender, sent_at, text FROM messages"
                " WHERE seq IN (SELECT value FROM json_each(?))",
                (json.dumps(seqs),),
            ).fetchall()
        finally:
            conn.close()
        return {seq: (sender, sent_at, text) for seq, sender, sent_at, text in rows}

    def history(self) -> list[tuple[str, str]] | None:
        """Provider and body of each turn kept from earlier files of this session, oldest first.

        None when the file cannot be read now (ask again soon).
        """
        try:
            conn = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)
        except sqlite3.OperationalError:
            return None
        try:
            return conn.execute("SELECT provider, body FROM history ORDER BY seq").fetchall()
        except sqlite3.OperationalError:
            return None
        finally:
            conn.close()
