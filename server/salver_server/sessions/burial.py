"""What the end of a sandbox means for the messages it was working on: decided here, in one transaction."""

from dataclasses import dataclass
from sqlite3 import Connection

from salver_server.clock import Stamp
from salver_server.ids import ChatId, SessionId
from salver_server.runtimes import Exit
from salver_server.sessions import store
from salver_server.sessions.outbox import tell_failure

MOST_ATTEMPTS = 3
"""Turns that a message may cut off before it fails alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    session: store.Session
    exit: Exit
    blameless: bool
    """Ended for reasons of our own."""
    stalled: bool
    """Ended because it showed no progress: its messages get one more try, not two."""
    verdict: str


def bury(conn: Connection, end: End, now: Stamp) -> set[ChatId]:
    """Forget the sandbox, let its messages wait again, fail those that have had their attempts.

    Returns the chats in which somebody is told of a failure.
    """
    session = end.session.id
    cut_off = store.running(conn, session)
    store.requeue(conn, session, blame=not end.blameless, now=now)
    store.forget_sandbox(conn, session)
    if end.blameless:
        return set()
    if end.stalled:
        for row in cut_off:
            store.set_attempts(conn, session, row.seq, at_least=MOST_ATTEMPTS - 1)
    if not cut_off and not (end.exit.cause == "ended" and end.exit.code == 0):
        _count_dead_start(conn, session)
    chats: set[ChatId] = set()
    for row in store.pending(conn, session):
        if row.attempts >= MOST_ATTEMPTS:
            reason = (
                f"The sandbox ended {row.attempts} times while it worked on this message; it is not tried again. "
                f"The last time: {end.verdict or end.exit.detail} Send it again, perhaps in other words."
            )
            store.settle(conn, session, row.seq, state="failed", reason=reason, now=now)
            tell_failure(conn, end.session, -row.seq, [row.seq], reason, now, chats)
    return chats


def _count_dead_start(conn: Connection, session: SessionId) -> None:
    """A runner that died before it claimed anything counts against the message that it was woken for."""
    for row in store.pending(conn, session):
        if row.wakes:
            store.set_attempts(conn, session, row.seq, at_least=row.attempts + 1)
            return
