"""SQL of the bus in salver.db: sessions, handovers, sandboxes, and what a runner's rows become."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from salver_server.clock import Stamp
from salver_server.ids import AgentName, ChatId, DeliveryId, MessageId, SessionId, mint
from salver_server.messages import HandoverState, MessageKind, Release

SESSION = "id, agent, chat, thread, state, generation, epoch, read_seq, token_hash, model, trouble, created_at, active_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    id: SessionId
    agent: AgentName
    chat: ChatId | None
    thread: str | None
    state: str
    generation: int
    epoch: int
    read_seq: int
    token_hash: bytes | None
    model: str
    """Chosen for this session; empty: as AGENT.md says."""
    trouble: str
    created_at: Stamp
    active_at: Stamp

    @staticmethod
    def from_row(row: tuple[Any, ...]) -> "Session":
        return Session(**dict(zip(SESSION.split(", "), row, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """One message on its way into one session."""

    seq: int
    message: MessageId
    kind: MessageKind
    target: int | None
    wakes: bool
    state: HandoverState
    sender: str
    sent_at: Stamp
    text: str
    quoted: str
    """JSON of `sender` and `text` of what it answers; empty for nothing."""
    files: str
    """JSON list of `name`, `type` and `size`."""
    tainted: bool
    attempts: int


HANDOVER = (
    "h.seq, h.message, i.kind, h.target, h.wakes, h.state, i.sender, i.sent_at, i.text, i.quoted, i.files,"
    " i.tainted, h.attempts"
    " FROM handovers h JOIN intake i ON i.id = h.message"
)


def _handover(row: tuple[Any, ...]) -> Handover:
    (
        seq,
        message,
        kind,
        target,
        wakes,
        state,
        sender,
        sent_at,
        text,
        quoted,
        files,
        tainted,
        attempts,
    ) = row
    return Handover(
        seq=seq, message=message, kind=kind, target=target, wakes=bool(wakes), state=state, sender=sender,
        sent_at=sent_at, text=text, quoted=quoted, files=files, tainted=bool(tainted), attempts=attempts,
    )  # fmt: skip


def session(conn: Connection, id_: SessionId) -> Session | None:
    row = conn.execute(f"SELECT {SESSION} FROM sessions WHERE id = ?", (id_,)).fetchone()
    return Session.from_row(row) if row else None


def sessions(conn: Connection, *, closed: bool = False, most: int = -1) -> list[Session]:
    """Sessions, the latest active first; closed ones only when asked for."""
    rows = conn.execute(
        f"SELECT {SESSION} FROM sessions WHERE state = 'open' OR ? ORDER BY active_at DESC LIMIT ?",
        (closed, most),
    )
    return [Session.from_row(row) for row in rows]


def open_sessions_of(conn: Connection, agent: AgentName) -> list[SessionId]:
    rows = conn.execute("SELECT id FROM sessions WHERE agent = ? AND state = 'open'", (agent,))
    return [row[0] for row in rows]


# Handing over

AT_ONCE = Stamp("")
"""Earlier than any moment, wherever the wall clock is set meanwhile."""
OPEN = "state IN ('received', 'held', 'queued', 'running')"
"""Nothing has ended it yet. SQLite takes the index of the same words only where it reads them."""
NO_COMMAND = "(h.wakes OR i.kind <> 'message')"
"""A message that wakes nobody was a command: it was obeyed here and is never handed over."""
OPEN_HANDOVER = HANDOVER.replace("handovers h", "handovers h INDEXED BY handovers_open")
"""For questions about one session that must not search what is long over."""


def due(conn: Connection, session: SessionId, now: Stamp, *, most: int = -1) -> list[Handover]:
    """What is to be handed over to this session now, in order."""
    rows = conn.execute(
        f"SELECT {OPEN_HANDOVER} WHERE h.session = ? AND h.{OPEN} AND h.state = 'received' AND h.due_at <= ?"
        " ORDER BY h.seq LIMIT ?",
        (session, now, most),
    )
    return [_handover(row) for row in rows]


def due_later(conn: Connection, session: SessionId, *, after: Stamp) -> Stamp | None:
    """The earliest moment after this one at which something is to be handed over to this session."""
    return conn.execute(
        f"SELECT min(due_at) FROM handovers INDEXED BY handovers_open"
        f" WHERE session = ? AND {OPEN} AND state = 'received' AND due_at > ?",
        (session, after),
    ).fetchone()[0]


def sessions_due(conn: Connection, now: Stamp) -> list[SessionId]:
    rows = conn.execute(
        "SELECT DISTINCT session FROM handovers INDEXED BY handovers_due"
        " WHERE state = 'received' AND due_at <= ?",
        (now,),
    )
    return [row[0] for row in rows]


def next_due(conn: Connection, *, after: Stamp) -> Stamp | None:
    """The same for all sessions."""
    return conn.execute(
        "SELECT min(due_at) FROM handovers INDEXED BY handovers_due"
        " WHERE state = 'received' AND due_at > ?",
        (after,),
    ).fetchone()[0]


def handed_over(conn: Connection, session: SessionId) -> list[Handover]:
    """Everything that an inbound.db of this session must hold, in order."""
    rows = conn.execute(
        f"SELECT {HANDOVER} WHERE h.session = ? AND h.state NOT IN ('received', 'held')"
        f" AND {NO_COMMAND} ORDER BY h.seq",
        (session,),
    )
    return [_handover(row) for row in rows]


def mark_queued(conn: Connection, session: SessionId, seqs: Iterable[int], now: Stamp) -> None:
    conn.executemany(
        "UPDATE handovers SET state = 'queued', changed_at = ? WHERE session = ? AND seq = ? AND state = 'received'",
        [(now, session, seq) for seq in seqs],
    )


def settled(conn: Connection, session: SessionId) -> list[tuple[int, int]]:
    """Ranges of seq in which nothing is owed any more, as inbound.db tells the runner."""
    next_seq: int = conn.execute(
        "SELECT next_seq FROM sessions WHERE id = ?", (session,)
    ).fetchone()[0]
    open_ = [row[0] for row in conn.execute(OPEN_SEQS, (session,))]
    ranges: list[tuple[int, int]] = []
    first = 1
    for seq in [*open_, next_seq]:
        if seq > first:
            ranges.append((first, seq - 1))
        first = seq + 1
    return ranges


# What is held is handed over under another number; its present one is never used.
OPEN_SEQS = (
    f"SELECT seq FROM handovers INDEXED BY handovers_open WHERE session = ? AND {OPEN}"
    " AND state <> 'held' ORDER BY seq"
)


LONGEST_HISTORY = 32 * 1024 * 1024
"""Characters of earlier turns that a new file's runner is told: how many there are, a sandbox decides."""


def history(conn: Connection, session: SessionId, *, before: int) -> list[tuple[str, str]]:
    """Provider and body of the latest turns kept from outbound files other than the one of epoch `before`.

    They begin with the last one by which the conversation began anew, in whichever file that was.
    """
    # By their numbers first: sorting the bodies would take them all into memory.
    rowids = conn.execute(
        "SELECT rowid, epoch, reset FROM continuations WHERE session = ? ORDER BY rowid DESC",
        (session,),
    )
    found: list[tuple[str, str]] = []
    size = 0
    for rowid, epoch, reset in rowids:
        if epoch != before:
            row = conn.execute("SELECT provider, body FROM continuations WHERE rowid = ?", (rowid,))
            provider, body = row.fetchone()
            size += len(body)
            if size > LONGEST_HISTORY:
                break
            found.append((provider, body))
        if reset:
            break
    return found[::-1]


# Waking


def pending(conn: Connection, session: SessionId) -> list[Handover]:
    """What a runner has still to answer, orders included, in order."""
    rows = conn.execute(
        f"SELECT {OPEN_HANDOVER} WHERE h.session = ? AND h.{OPEN} AND h.state IN ('queued', 'running')"
        " ORDER BY h.seq",
        (session,),
    )
    return [_handover(row) for row in rows]


def owes(conn: Connection, session: SessionId) -> bool:
    """Whether a runner is at work, or has still to answer anything that is worth waking one."""
    row = conn.execute(
        f"SELECT 1 FROM handovers INDEXED BY handovers_open"
        f" WHERE session = ? AND {OPEN} AND (state = 'running' OR state = 'queued' AND wakes) LIMIT 1",
        (session,),
    ).fetchone()
    return row is not None


def sessions_pending(conn: Connection) -> list[SessionId]:
    """Open sessions that owe an answer, the longest waiting first."""
    rows = conn.execute(
        f"SELECT h.session FROM handovers h INDEXED BY handovers_open JOIN sessions s ON s.id = h.session"
        f" WHERE h.{OPEN} AND h.state IN ('queued', 'running') AND h.wakes AND s.state = 'open'"
        " GROUP BY h.session ORDER BY min(h.changed_at)"
    )
    return [row[0] for row in rows]


def sessions_ordered(conn: Connection) -> list[SessionId]:
    """Sessions whose runner has been given an order of a person's and has not answered it."""
    rows = conn.execute(
        "SELECT DISTINCT h.session FROM handovers h INDEXED BY handovers_open JOIN intake i ON i.id = h.message"
        f" WHERE h.{OPEN} AND h.state = 'queued' AND i.kind IN ('cancel', 'stop')"
    )
    return [row[0] for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRow:
    session: SessionId
    generation: int
    runtime: str
    handle: str | None
    started_at: Stamp


def sandboxes(conn: Connection) -> list[SandboxRow]:
    rows = conn.execute("SELECT session, generation, runtime, handle, started_at FROM sandboxes")
    return [
        SandboxRow(
            session=session,
            generation=generation,
            runtime=runtime,
            handle=handle,
            started_at=started_at,
        )
        for session, generation, runtime, handle, started_at in rows
    ]


def raise_generation(
    conn: Connection, session: SessionId, *, runtime: str, token_hash: bytes, now: Stamp
) -> int:
    """The next owner's number, with its sandbox on record before it exists."""
    generation: int = conn.execute(
        "UPDATE sessions SET generation = generation + 1, token_hash = ? WHERE id = ? RETURNING generation",
        (token_hash, session),
    ).fetchone()[0]
    conn.execute(
        "INSERT INTO sandboxes (session, generation, runtime, handle, started_at) VALUES (?, ?, ?, NULL, ?)",
        (session, generation, runtime, now),
    )
    return generation


def keep_handle(conn: Connection, session: SessionId, generation: int, handle: str) -> None:
    conn.execute(
        "UPDATE sandboxes SET handle = ? WHERE session = ? AND generation = ?",
        (handle, session, generation),
    )


def forget_sandbox(conn: Connection, session: SessionId) -> None:
    conn.execute("DELETE FROM sandboxes WHERE session = ?", (session,))


def say_trouble(conn: Connection, session: SessionId, trouble: str) -> None:
    conn.execute(
        "UPDATE sessions SET trouble = ? WHERE id = ? AND trouble <> ?", (trouble, session, trouble)
    )


def choose_model(conn: Connection, session: SessionId, model: str) -> None:
    """The model of this session from its next turn on; empty: as AGENT.md says."""
    conn.execute("UPDATE sessions SET model = ? WHERE id = ?", (model, session))


def new_file(conn: Connection, session: SessionId, epoch: int) -> None:
    """The next outbound.db is another file: what counts from the old one is already here."""
    conn.execute("UPDATE sessions SET epoch = ?, read_seq = 0 WHERE id = ?", (epoch, session))


# What a runner wrote


def advance(conn: Connection, session: SessionId, read_seq: int, now: Stamp) -> None:
    conn.execute(
        "UPDATE sessions SET read_seq = ?, active_at = ? WHERE id = ?", (read_seq, now, session)
    )


def claim(conn: Connection, session: SessionId, seq: int, *, turn: int, now: Stamp) -> None:
    conn.execute(
        "UPDATE handovers SET state = 'running', turn = ?, attempts = attempts + 1, changed_at = ?"
        " WHERE session = ? AND seq = ? AND state IN ('received', 'queued', 'running')",
        (turn, now, session, seq),
    )


def release(conn: Connection, session: SessionId, seq: int, now: Stamp) -> None:
    conn.execute(
        "UPDATE handovers SET state = 'queued', attempts = attempts - 1, changed_at = ?"
        " WHERE session = ? AND seq = ? AND state = 'running'",
        (now, session, seq),
    )


def settle(
    conn: Connection, session: SessionId, seq: int, *, state: HandoverState, reason: str, now: Stamp
) -> bool:
    """End what is owed for this message; false if nothing was owed."""
    changed = conn.execute(
        "UPDATE handovers SET state = ?, reason = ?, changed_at = ?"
        f" WHERE session = ? AND seq = ? AND {OPEN}",
        (state, reason, now, session, seq),
    )
    return changed.rowcount == 1


def kind_of(conn: Connection, session: SessionId, seq: int, now: Stamp) -> MessageKind | None:
    """What was handed over under this number; None if nothing was.

    A runner may be quicker than our own note of the hand-over, so what is due counts as handed over.
    """
    row = conn.execute(
        "SELECT i.kind FROM handovers h JOIN intake i ON i.id = h.message"
        " WHERE h.session = ? AND h.seq = ? AND h.state <> 'held' AND (h.state <> 'received' OR h.due_at <= ?)"
        f" AND {NO_COMMAND}",
        (session, seq, now),
    ).fetchone()
    return row[0] if row else None


def keep_continuation(
    conn: Connection,
    session: SessionId,
    *,
    epoch: int,
    seq: int,
    provider: str,
    body: str,
    reset: bool,
) -> None:
    conn.execute(
        "INSERT INTO continuations (session, epoch, seq, provider, body, reset) VALUES (?, ?, ?, ?, ?, ?)",
        (session, epoch, seq, provider, body, int(reset)),
    )


def owe_delivery(
    conn: Connection,
    session: SessionId,
    *,
    epoch: int,
    seq: int,
    kind: str,
    text: str,
    answers: list[int],
    now: Stamp,
    id_: DeliveryId | None = None,
) -> DeliveryId | None:
    """A row for delivery, addressed to where the answered messages came from; under `id_` if it has one.

    Says which delivery tells the person of each answered message. None where there is no chat to tell.
    """
    place = _place(conn, session, answers)
    if place is None:
        return None
    chat, thread = place
    messages = [
        conn.execute(
            "SELECT message FROM handovers WHERE session = ? AND seq = ?", (session, number)
        ).fetchone()[0]
        for number in answers
    ]
    id_ = id_ or DeliveryId(mint("del"))
    conn.execute(
        "INSERT INTO deliveries (id, session, epoch, seq, chat, thread, kind, text, answers, state, next_at,"
        " created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting', ?, ?, ?)",
        (
            id_,
            session,
            epoch,
            seq,
            chat,
            thread,
            kind,
            text,
            json.dumps(messages),
            AT_ONCE,
            now,
            now,
        ),
    )
    if kind != "send":
        conn.executemany(
            "UPDATE handovers SET delivery = ? WHERE session = ? AND seq = ? AND delivery IS NULL",
            [(id_, session, number) for number in answers],
        )
    return id_


def _place(
    conn: Connection, session: SessionId, answers: list[int]
) -> tuple[ChatId, str | None] | None:
    """Where an answer goes: to the chat of the last message answered, else of the last one handed over."""
    row = conn.execute(
        "SELECT i.chat, i.thread FROM handovers h JOIN intake i ON i.id = h.message"
        " WHERE h.session = ? AND i.chat IS NOT NULL AND (h.seq = ? OR ? AND h.state NOT IN ('received', 'held'))"
        " ORDER BY h.seq DESC LIMIT 1",
        (session, answers[-1] if answers else 0, not answers),
    ).fetchone()
    return (row[0], row[1]) if row else None


# When no sandbox lives

STOPPABLE: tuple[MessageKind, ...] = ("message", "compact")
"""What a stop ends: work; a wish about the memory stands."""


def obey_orders(conn: Connection, session: SessionId, now: Stamp) -> None:
    """Answer every order that no runner has answered, and settle what it ends."""
    # What is due may be about to be handed over; it was said before the order, or is one.
    found = [*pending(conn, session), *due(conn, session, now)]
    rows = sorted(found, key=lambda row: row.seq)
    for order in rows:
        match order.kind:
            case "stop":
                ended = [row.seq for row in rows if row.seq < order.seq and row.kind in STOPPABLE]
                for seq in ended:
                    settle(conn, session, seq, state="stopped", reason="Stopped.", now=now)
            case "cancel" if order.target is not None:
                settle(conn, session, order.target, state="cancelled", reason="", now=now)
            case _:
                continue
        settle(conn, session, order.seq, state="done", reason="", now=now)


# When a sandbox has ended


def running(conn: Connection, session: SessionId) -> list[Handover]:
    rows = conn.execute(
        f"SELECT {OPEN_HANDOVER} WHERE h.session = ? AND h.{OPEN} AND h.state = 'running' ORDER BY h.seq",
        (session,),
    )
    return [_handover(row) for row in rows]


def requeue(conn: Connection, session: SessionId, *, blame: bool, now: Stamp) -> None:
    """Messages whose turn was cut off wait again; without blame the attempt does not count."""
    conn.execute(
        "UPDATE handovers INDEXED BY handovers_open SET state = 'queued', attempts = attempts - ?, changed_at = ?"
        f" WHERE session = ? AND {OPEN} AND state = 'running'",
        (0 if blame else 1, now, session),
    )


def set_attempts(conn: Connection, session: SessionId, seq: int, *, at_least: int) -> None:
    conn.execute(
        "UPDATE handovers SET attempts = max(attempts, ?) WHERE session = ? AND seq = ?",
        (at_least, session, seq),
    )


# What the server says to the agent


def next_seq(conn: Connection, session: SessionId) -> int:
    """The next message's number in this session; given once."""
    return conn.execute(
        "UPDATE sessions SET next_seq = next_seq + 1 WHERE id = ? RETURNING next_seq - 1",
        (session,),
    ).fetchone()[0]


def note(conn: Connection, session: SessionId, text: str, now: Stamp) -> None:
    """Tell the agent something with its next message, without waking it."""
    id_ = MessageId(mint("msg"))
    conn.execute(
        "INSERT INTO intake (id, kind, channel, key, sender, text, sent_at, accepted_at)"
        " VALUES (?, 'note', 'salver', ?, 'salver', ?, ?, ?)",
        (id_, id_, text, now, now),
    )
    hand_over(conn, session, id_, kind="note", now=now)


WAKING: tuple[MessageKind, ...] = ("message", "cancel", "stop")
"""What a runner is started for; the rest is met by the next one, before its first turn."""


def hand_over(
    conn: Connection,
    session: SessionId,
    message: MessageId,
    *,
    kind: MessageKind,
    now: Stamp,
    due_at: Stamp = AT_ONCE,
    target: int | None = None,
    release: Release | None = None,
) -> int:
    """Owe this message to this session; return its number there. What has a `release` is held until then."""
    seq = next_seq(conn, session)
    conn.execute(
        "INSERT INTO handovers (session, seq, message, target, wakes, state, release, due_at, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            session,
            seq,
            message,
            target,
            int(kind in WAKING),
            "held" if release else "received",
            release,
            due_at,
            now,
        ),
    )
    return seq


# Opening and closing


def open_session(
    conn: Connection,
    agent: AgentName,
    chat: ChatId | None,
    thread: str | None,
    *,
    epoch: int,
    now: Stamp,
) -> SessionId:
    """The open session of this place, made if there is none."""
    row = conn.execute(
        "SELECT id FROM sessions WHERE agent = ? AND ifnull(chat, '') = ifnull(?, '')"
        " AND ifnull(thread, '') = ifnull(?, '') AND state = 'open'",
        (agent, chat, thread),
    ).fetchone()
    if row is not None:
        return row[0]
    id_ = SessionId(mint("ses"))
    conn.execute(
        "INSERT INTO sessions (id, agent, chat, thread, state, epoch, created_at, active_at)"
        " VALUES (?, ?, ?, ?, 'open', ?, ?, ?)",
        (id_, agent, chat, thread, epoch, now, now),
    )
    return id_


def close_session(conn: Connection, session: SessionId, now: Stamp) -> bool:
    """Close a session; what it still owed is cancelled. False if it was closed already."""
    changed = conn.execute(
        "UPDATE sessions SET state = 'closed' WHERE id = ? AND state = 'open'", (session,)
    )
    conn.execute(
        "UPDATE handovers SET state = 'cancelled', reason = 'The session was closed.', changed_at = ?"
        f" WHERE session = ? AND {OPEN}",
        (now, session),
    )
    return changed.rowcount == 1
