"""A person's wishes about messages that wait in a session's queue: another text, another place, now.

What was handed over is the runner's; then only a cancel is left, or another message.
"""

from collections.abc import Callable
from sqlite3 import Connection

from salver_server.clock import Clock, stamp
from salver_server.errors import Conflict, Missing, Rejected
from salver_server.ids import MessageId, SessionId
from salver_server.intake import commands, store
from salver_server.intake.checks import check_text
from salver_server.sessions import queue
from salver_server.sessions import store as bus
from salver_server.store import Database


class Queue:
    def __init__(
        self, *, database: Database, clock: Clock, changed: Callable[[SessionId], None]
    ) -> None:
        """`changed` is told of each session whose queue is another one now."""
        self._database = database
        self._clock = clock
        self._changed = changed

    async def edit(self, message: MessageId, text: str) -> None:
        """Let a message that is held say something else."""
        if not text.strip():
            raise Rejected("The message is empty. Write something, or cancel it.")
        check_text(text)
        if commands.command(text):
            raise Rejected("A command does not wait in the queue. Send it by itself.")
        held = await self._database.write(
            lambda conn: self._edit(conn, message, commands.spoken(text))
        )
        self._tell(held)

    def _edit(self, conn: Connection, message: MessageId, text: str) -> list[SessionId]:
        held = _held(conn, message)
        store.edit(conn, message, text)
        return [session for session, _ in held]

    async def release(self, message: MessageId) -> None:
        """Hand a message over that is held, whatever runs."""
        now = stamp(self._clock.now())

        def release(conn: Connection) -> list[SessionId]:
            held = _held(conn, message)
            for session, seq in held:
                queue.let_go(conn, session, seq, now)
            return [session for session, _ in held]

        self._tell(await self._database.write(release))

    async def move(self, message: MessageId, position: int) -> None:
        """Put a message that is held at this place of its queue, counted from 1."""

        def move(conn: Connection) -> list[SessionId]:
            sessions = [session for session, _ in _held(conn, message)]
            for session in sessions:
                order = [one for one in queue.waiting(conn, session) if one != message]
                order.insert(position - 1, message)
                queue.arrange(conn, session, order)
            return sessions

        self._tell(await self._database.write(move))

    async def arrange(self, session: SessionId, order: list[MessageId]) -> None:
        """Let everything that is held in a session wait in this order."""

        def arrange(conn: Connection) -> None:
            if bus.session(conn, session) is None:
                raise Missing(
                    f"There is no session '{session}'. `salver sessions list` names them."
                )
            if sorted(order) != sorted(queue.waiting(conn, session)):
                raise Conflict(
                    "The queue holds other messages by now. `salver messages list` shows them; name each once."
                )
            queue.arrange(conn, session, order)

        await self._database.write(arrange)
        self._tell([session])

    def _tell(self, sessions: list[SessionId]) -> None:
        for session in sessions:
            self._changed(session)


def _held(conn: Connection, message: MessageId) -> list[tuple[SessionId, int]]:
    """The sessions in which a message is held, with its numbers; raises where it is not, or no longer."""
    found = store.standing(conn, message)
    if not found:
        raise Missing(f"There is no message '{message}'. `salver messages list` names them.")
    for _, _, state in found:
        if state in ("received", "queued", "running"):
            raise Conflict(
                f"Message '{message}' was handed over already. Cancel it, or write another message."
            )
        if state != "held":
            raise Conflict(f"Message '{message}' is {state} already. Write another message.")
    return [(session, seq) for session, seq, _ in found]
