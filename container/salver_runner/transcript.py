"""transcript.md in the runner's home: the conversation as a person would read it.

A projection of the two databases: if it is missing it is written anew, and a crash in the middle costs
at most the last lines, which the next extension writes again.
"""

import json
import re
from pathlib import Path

from salver_runner.inbox import Inbox
from salver_runner.outbox import Outbox

MARK = re.compile(rb"<!-- through (\d+) of (\d+) -->\n*\Z")


class Transcript:
    def __init__(self, path: Path, inbox: Inbox, outbox: Outbox) -> None:
        self._path = path
        self._inbox = inbox
        self._outbox = outbox

    def extend(self) -> None:
        """Add every row of outbound.db that is not yet in the file."""
        size, after = self._standing()
        rows = self._outbox.turns(after=after)
        if not rows:
            return
        claimed = [message for _, kind, message, _, _ in rows if kind == "claim" and message]
        texts = self._inbox.texts(claimed)
        parts = [_words(kind, message, at, body, texts) for _, kind, message, at, body in rows]
        mark = f"<!-- through {rows[-1][0]} of {self._outbox.epoch} -->\n"
        with self._path.open("r+b" if size else "wb") as file:
            file.seek(size)
            file.truncate()
            file.write(("".join(parts) + mark).encode())

    def _standing(self) -> tuple[int, int]:
        """Where new text goes, in bytes, and the seq that the file has reached in this outbound.db."""
        if self._path.is_symlink() or not self._path.is_file():
            return 0, 0
        with self._path.open("rb") as file:
            end = file.seek(0, 2)
            start = max(0, end - 200)
            file.seek(start)
            tail = file.read()
        found = MARK.search(tail)
        if found is None:
            return 0, 0
        if int(found[2]) != self._outbox.epoch:
            return start + found.start(), 0  # an earlier outbound.db; what it said stays
        return start + found.start(), int(found[1])


def _words(
    kind: str, message: int | None, at: str, body: str, texts: dict[int, tuple[str, str, str]]
) -> str:
    time = at[:16].replace("T", " ")
    match kind:
        case "claim" if message in texts:
            sender, sent_at, text = texts[message]
            return f"**{sender}**, {sent_at[:16].replace('T', ' ')}\n\n{text}\n\n"
        case "reply" | "send":
            return f"**agent**, {time}\n\n{json.loads(body)['text']}\n\n"
        case "tool":
            call = json.loads(body)
            return f"> `{call['name']}` {json.dumps(call['arguments'], ensure_ascii=False)}\n\n"
        case "ack" if (reason := json.loads(body)["reason"]) and json.loads(body)[
            "outcome"
        ] != "answered":
            return f"*{reason}*\n\n"
        case _:
            return ""
