"""What waits to be handed over until the agent is free or a person says so; its order is that of its numbers.

A number says only where a message waits. When it is handed over it gets a fresh one, because a runner
goes by numbers: the message comes after everything that it was told meanwhile.
"""

from sqlite3 import Connection

from salver_server.clock import Stamp
from salver_server.ids import MessageId, SessionId
from salver_server.kit.failpoint import failpoint
from salver_server.sessions import store
from salver_server.sessions.store import OPEN


def busy(conn: Connection, session: SessionId, now: Stamp) -> bool:
    """Whether the session owes anything, or has just been given something to do."""
    row = conn.execute(
        "SELECT 1 FROM handovers INDEXED BY handovers_open"
        f" WHERE session = ? AND {OPEN} AND state = 'received' AND wakes AND due_at <= ? LIMIT 1",
        (session, now),
    ).fetchone()
    return row is not None or store.owes(conn, session)


def release_next(conn: Connection, session: SessionId, now: Stamp) -> bool:
    """Let the first message that waits for a free agent go, if the agent is free; true if one goes.

    To be called in every transaction that may have settled the last thing that was owed.
    """
    first = conn.execute(
        "SELECT min(seq) FROM handovers INDEXED BY handovers_free"
        " WHERE session = ? AND state = 'held' AND release = 'free'",
        (session,),
    ).fetchone()[0]
    if first is None or busy(conn, session, now):
        return False
    let_go(conn, session, first, now)
    failpoint("queue.in-release")
    return True


def let_go(conn: Connection, session: SessionId, seq: int, now: Stamp) -> None:
    """Hand a message over that was held."""
    conn.execute(
        "UPDATE handovers SET seq = ?, state = 'received', changed_at = ?"
        " WHERE session = ? AND seq = ? AND state = 'held'",
        (store.next_seq(conn, session), now, session, seq),
    )


def overlooked(conn: Connection, now: Stamp) -> list[SessionId]:
    """Sessions in which something waits for an agent that is free, as after a jump of the wall clock."""
    rows = conn.execute(
        "SELECT DISTINCT session FROM handovers INDEXED BY handovers_free"
        " WHERE state = 'held' AND release = 'free'"
    ).fetchall()
    return [session for (session,) in rows if not busy(conn, session, now)]


def waiting(conn: Connection, session: SessionId) -> list[MessageId]:
    """Everything that is held in a session, in order."""
    rows = conn.execute(
        "SELECT message FROM handovers INDEXED BY handovers_open"
        f" WHERE session = ? AND {OPEN} AND state = 'held' ORDER BY seq",
        (session,),
    )
    return [row[0] for row in rows]


def arrange(conn: Connection, session: SessionId, order: list[MessageId]) -> None:
    """Let everything that is held wait in this order."""
    for message in order:
        conn.execute(
            "UPDATE handovers SET seq = ? WHERE session = ? AND message = ? AND state = 'held'",
            (store.next_seq(conn, session), session, message),
        )
