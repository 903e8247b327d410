"""transcript.md in the runner's home: the conversation as a person would read it.

A projection of the two databases: if it is missing it is written anew, and a crash in the middle costs
at most the last lines, which the next extension writes again. What cannot be written is written later.
"""

import json
import logging
import os
import re
import sqlite3
from pathlib import Path
from typing import BinaryIO

from salver_runner.inbox import Inbox
from salver_runner.outbox import Outbox

logger = logging.getLogger(__name__)

MARK = re.compile(rb"<!-- through (\d+) of (\d+) -->\n")
"""Ends each extension; where a torn one is cut off."""
LONGEST_MARK = 100
CLEARED = '"messages":[],"reset":true}'
"""How a row ends by which the conversation begins anew, with nothing."""


class Transcript:
    def __init__(self, path: Path, inbox: Inbox, outbox: Outbox) -> None:
        self._path = path
        self._inbox = inbox
        self._outbox = outbox

    def extend(self) -> None:
        """Add every row of outbound.db that is not yet in the file."""
        try:
            self._extend()
        except (OSError, sqlite3.OperationalError):
            logger.warning("the transcript waits: it cannot be written now", exc_info=True)

    def _extend(self) -> None:
        # Whatever a tool put in its place, a link or a pipe, is neither followed nor waited for.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(self._path, flags, 0o600), "r+b") as file:
            end, after = self._standing(file)
            rows = self._outbox.turns(after=after)
            if not rows:
                return
            claimed = [message for _, kind, message, _, _ in rows if kind == "claim" and message]
            texts = self._inbox.texts(claimed)
            parts = [_words(kind, message, at, body, texts) for _, kind, message, at, body in rows]
            mark = f"<!-- through {rows[-1][0]} of {self._outbox.epoch} -->\n"
            file.seek(end)
            file.truncate()
            file.write(("".join(parts) + mark).encode())

    def _standing(self, file: BinaryIO) -> tuple[int, int]:
        """Where new text goes, in bytes, and the seq that the file has reached in this outbound.db."""
        size = file.seek(0, os.SEEK_END)
        for start in (max(0, size - LONGEST_MARK), 0):
            file.seek(start)
            if marks := list(MARK.finditer(file.read())):
                # An earlier outbound.db has numbers of its own; what it said stays.
                same_file = int(marks[-1][2]) == self._outbox.epoch
                return start + marks[-1].end(), int(marks[-1][1]) if same_file else 0
        return 0, 0


def _words(
    kind: str, message: int | None, at: str, body: str, texts: dict[int, tuple[str, str, str]]
) -> str:
    time = at[:16].replace("T", " ")
    match kind:
        case "claim" if message in texts:
            sender, sent_at, text = texts[message]
            return f"**{sender}**, {sent_at[:16].replace('T', ' ')}\n\n{text}\n\n"
        case "reply" | "send":
            said = json.loads(body)
            files = "".join(f"> file `{file['name']}`\n\n" for file in said.get("files", ()))
            return f"**agent**, {time}\n\n{said['text']}\n\n{files}"
        case "continuation" if body.endswith(CLEARED):
            return "*Cleared: the agent has forgotten what stands above.*\n\n"
        case "tool":
            call = json.loads(body)
            return f"> `{call['name']}` {json.dumps(call['arguments'], ensure_ascii=False)}\n\n"
        case "ack" if (reason := json.loads(body)["reason"]) and json.loads(body)[
            "outcome"
        ] != "answered":
            return f"*{reason}*\n\n"
        case _:
            return ""
