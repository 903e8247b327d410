"""What the contexts of a session's turns were made of: checked as a runner says it, kept, shown.

Texts are not kept, only which parts there were and how large: what was said is in the conversation.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from sqlite3 import Connection
from typing import Any, Literal, cast, get_args

from salver_server.clock import Stamp
from salver_server.errors import Broken
from salver_server.ids import SessionId

PartName = Literal[
    "base", "instructions", "memory", "skills", "tools", "summary", "history", "messages", "notice"
]
LARGEST = 10**12
"""Characters or tokens of a part; what is beyond is no count."""
MOST_MESSAGES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    part: PartName
    characters: int
    tokens: int
    """An estimate."""
    count: int
    """How many things of this kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Of the last request of one turn."""

    turn: int
    model: str
    window: int
    """Tokens that the model takes; 0 where nobody knows."""
    used: int
    """Tokens of the request: as the model's provider counted them, estimated where it has not."""
    compacted: bool
    """Earlier parts of the conversation were summarised in this turn."""
    parts: tuple[Part, ...]
    messages: tuple[int, ...]
    """Numbers of the messages that the turn took up."""
    recorded_at: Stamp


def read(body: Mapping[str, Any], *, turn: int, now: Stamp) -> Context:
    """The context that a runner's row tells of; raises `Broken`."""
    parts, compacted = body.get("parts"), body.get("compacted")
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(parts, list) or len(cast(list[object], parts)) > len(get_args(PartName)):
        raise Broken("a context has no list of parts")
    if not isinstance(model, str) or len(model) > 300 or not model.isprintable():
        raise Broken("a context names no model")
    if not isinstance(messages, list) or len(cast(list[object], messages)) > MOST_MESSAGES:
        raise Broken("a context has no list of messages")
    if not isinstance(compacted, bool):
        raise Broken("a context doesn't say whether it was compacted")
    return Context(
        turn=turn,
        model=model,
        window=_count(body.get("window")),
        used=_count(body.get("used")),
        compacted=compacted,
        parts=tuple(_part(part) for part in cast(list[object], parts)),
        messages=tuple(_count(seq) for seq in cast(list[object], messages)),
        recorded_at=now,
    )


def _part(found: object) -> Part:
    if not isinstance(found, dict):
        raise Broken("a context has a part that is none")
    fields = cast(Mapping[str, object], found)
    name = fields.get("part")
    if name not in get_args(PartName):
        raise Broken("a context has a part of an unknown kind")
    return Part(
        part=cast(PartName, name),
        characters=_count(fields.get("characters")),
        tokens=_count(fields.get("tokens")),
        count=_count(fields.get("count")),
    )


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise Broken("a context counts what is no number")
    return value


def keep(conn: Connection, session: SessionId, context: Context, *, epoch: int, seq: int) -> None:
    conn.execute(
        "INSERT INTO contexts (session, epoch, seq, turn, model, size, used, compacted, parts, messages,"
        " recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            session,
            epoch,
            seq,
            context.turn,
            context.model,
            context.window,
            context.used,
            int(context.compacted),
            json.dumps([asdict(part) for part in context.parts]),
            json.dumps(context.messages),
            context.recorded_at,
        ),
    )


def latest(conn: Connection, session: SessionId, *, turn: int | None, most: int) -> list[Context]:
    """The contexts of the latest turns, or of one turn, oldest first."""
    rows = conn.execute(
        "SELECT turn, model, size, used, compacted, parts, messages, recorded_at FROM contexts"
        " WHERE session = ? AND (? IS NULL OR turn = ?) ORDER BY rowid DESC LIMIT ?",
        (session, turn, turn, most),
    ).fetchall()
    return [
        Context(
            turn=number,
            model=model,
            window=size,
            used=used,
            compacted=bool(compacted),
            parts=tuple(Part(**part) for part in json.loads(parts)),
            messages=tuple(json.loads(messages)),
            recorded_at=at,
        )
        for number, model, size, used, compacted, parts, messages, at in reversed(rows)
    ]
