"""One transaction of salver.db: the message, and what is owed to each session because of it."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from sqlite3 import Connection
from typing import Protocol, assert_never

from salver_server.clock import Clock, Stamp, stamp
from salver_server.errors import Conflict, Missing, NeedsUser
from salver_server.files import Uploads
from salver_server.files import store as files
from salver_server.ids import (
    AgentName,
    ChannelName,
    ChatId,
    FileId,
    MessageId,
    SessionId,
    mint,
    new_epoch,
)
from salver_server.intake import store
from salver_server.intake.checks import check
from salver_server.intake.commands import Command, Models, command, obey, spoken, unspoken
from salver_server.kit.failpoint import failpoint
from salver_server.messages import (
    LONGEST_QUOTE,
    File,
    Inbound,
    Quoted,
    Release,
    When,
)
from salver_server.sessions import queue
from salver_server.sessions import store as bus
from salver_server.store import Database


class Target(Protocol):
    """What identifies one open session."""

    @property
    def agent(self) -> AgentName: ...
    @property
    def chat(self) -> ChatId | None: ...
    @property
    def thread(self) -> str | None: ...


Route = Callable[[Connection, Inbound], tuple[ChatId, Sequence[Target]] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A message that is on disk. `again` if it was accepted before: nothing is owed twice."""

    message: MessageId
    sessions: tuple[SessionId, ...]
    again: bool
    answered: ChatId | None = None
    """The chat in which it was answered at once: it was a command."""


class Intake:
    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        uploads: Uploads,
        route: Route,
        accepted: Callable[[SessionId], None],
        owed: Callable[[ChatId], None],
        models: Models,
    ) -> None:
        """Told of something new: `accepted` of each session that is owed it, `owed` of each chat."""
        self._database = database
        self._clock = clock
        self._uploads = uploads
        self._route = route
        self._accepted = accepted
        self._owed = owed
        self._models = models

    async def __call__(self, message: Inbound) -> Accepted:
        """Accept a message; when this returns, it is never lost and never answered twice.

        Raises `Rejected` for a message that cannot be accepted, `Missing` for a chat that no agent
        serves, `NeedsUser` when the disk is full; then nothing was kept.
        """
        check(message)
        now, id_ = self._clock.now(), MessageId(mint("msg"))
        if not message.files:
            return await self._commit(id_, message, (), now)
        # What was accepted before needs its uploads no more; they are gone.
        known = self._database.glance(lambda conn: store.by_key(conn, message.channel, message.key))
        if known is not None:
            return await self._commit(id_, message, (), now)
        try:
            accepted = await self._commit(id_, message, await self._place(id_, message), now)
        except Exception:  # not a cancellation: then it may still be committed
            await self._uploads.settle(message.files, id_)
            raise
        await self._uploads.settle(message.files, id_)
        return accepted

    async def _place(self, id_: MessageId, message: Inbound) -> tuple[File, ...]:
        try:
            found = await self._uploads.place(message.files, id_)
        except OSError as exc:
            raise _no_room(exc.strerror or str(exc)) from exc
        failpoint("intake.files-placed")
        return found

    async def _commit(
        self, id_: MessageId, message: Inbound, found: Sequence[File], now: datetime
    ) -> Accepted:
        failpoint("intake.before-commit")
        try:
            accepted = await self._database.write(
                lambda conn: self._keep(conn, id_, message, found, now)
            )
        except sqlite3.OperationalError as exc:
            raise _no_room(str(exc)) from exc
        failpoint("intake.after-commit")
        for session in accepted.sessions:
            self._accepted(session)
        if accepted.answered is not None:
            self._owed(accepted.answered)
        return accepted

    def _keep(
        self,
        conn: Connection,
        id_: MessageId,
        message: Inbound,
        found: Sequence[File],
        now: datetime,
    ) -> Accepted:
        earlier = store.by_key(conn, message.channel, message.key)
        if earlier is not None:
            return Accepted(
                message=earlier, sessions=tuple(store.sessions_of(conn, earlier)), again=True
            )
        routed = self._route(conn, message)
        if routed is None or not routed[1]:
            raise Missing(
                f"No agent serves the chat '{message.address}' on {message.channel}. Wire one to it."
            )
        chat, targets = routed
        if (taken := files.taken(conn, message.files)) is not None:
            raise Conflict(f"The file '{taken}' came with another message. Upload it again.")
        asked = command(message.text)
        message = replace(message, text=spoken(message.text))
        store.keep(conn, id_, message, chat=chat, files=found, now=stamp(now))
        files.attach(conn, found, message=id_)
        sessions = [
            bus.open_session(
                conn, target.agent, target.chat, target.thread, epoch=new_epoch(), now=stamp(now)
            )
            for target in targets
        ]
        for session in sessions:
            if asked:
                self._obey(conn, session, id_, asked, stamp(now))
            else:
                _hand_over(conn, session, id_, message, now)
        failpoint("intake.in-commit")
        return Accepted(
            message=id_, sessions=tuple(sessions), again=False, answered=chat if asked else None
        )

    def _obey(
        self, conn: Connection, id_: SessionId, message: MessageId, asked: Command, now: Stamp
    ) -> None:
        session = bus.session(conn, id_)
        assert session is not None
        answer = obey(conn, session, asked, models=self._models, now=now)
        store.obeyed(conn, session, message, answer, now)

    async def quoted(self, id_: str, *, agent: AgentName, thread: str | None) -> Quoted:
        """An earlier message or reply of this conversation, to be quoted."""
        found = await self._database.read(
            lambda conn: store.quoted(conn, id_, agent=agent, thread=thread)
        )
        if found is None:
            raise Missing(
                f"There is no message or reply '{id_}' in this conversation. `salver messages list --all` names them."
            )
        sender, text = found
        return Quoted(sender=sender, text=text[:LONGEST_QUOTE])

    # Orders

    async def cancel(self, message: MessageId) -> str:
        """Ask for a message not to be answered; returns its state afterwards, as far as it is decided.

        `cancelled` at once where no runner has it; else an order is on its way to the runner, which
        answers `cancelled` or, if the message was already part of a request, leaves it running.
        """
        now = stamp(self._clock.now())
        states = await self._database.write(lambda conn: store.order_cancel(conn, message, now))
        if not states:
            raise Missing(f"There is no message '{message}'.")
        for session, _ in states:
            self._accepted(session)
        return states[0][1]

    async def stop(self, session: SessionId) -> None:
        """Ask for the running turn, and everything that waits before this order, to end unanswered."""
        now = stamp(self._clock.now())
        if not await self._database.write(lambda conn: store.order_stop(conn, session, now)):
            raise Missing(f"There is no open session '{session}'.")
        self._accepted(session)

    async def retry(self, message: MessageId) -> Accepted:
        """Accept a message that failed, was stopped or cancelled once more, as a new one."""
        found = await self._database.read(
            lambda conn: store.again(conn, message, self._clock.now())
        )
        if found is None:
            raise Missing(f"There is no message '{message}'.")
        state, inbound = found
        if state not in ("failed", "stopped", "cancelled"):
            raise Conflict(
                f"Message '{message}' is {state}; only one that ended unanswered can be tried again."
            )
        files_ = await self._uploads.again(message)
        return await self(replace(inbound, text=unspoken(inbound.text), files=files_))


def local(
    agent: AgentName,
    text: str,
    *,
    key: str,
    sender: str,
    thread: str | None,
    sent_at: datetime,
    due_at: datetime | None,
    files: Sequence[FileId] = (),
    when: When = "now",
    quoted: Quoted | None = None,
) -> Inbound:
    """A message typed on this computer."""
    return Inbound(
        channel=ChannelName("local"),
        address=agent,
        thread=thread,
        key=key,
        sender=sender,
        text=text,
        files=tuple(files),
        sent_at=sent_at,
        due_at=due_at,
        when=when,
        quoted=quoted,
    )


def _no_room(why: str) -> NeedsUser:
    return NeedsUser(
        f"The message was not accepted: {why}. Free some disk space and send it again."
    )


def _hand_over(
    conn: Connection, session: SessionId, id_: MessageId, message: Inbound, now: datetime
) -> None:
    later = message.due_at is not None and message.due_at > now
    bus.hand_over(
        conn,
        session,
        id_,
        kind="message",
        due_at=stamp(message.due_at) if message.due_at and later else bus.AT_ONCE,
        now=stamp(now),
        release=_release(conn, session, message.when, stamp(now)),
    )


def _release(conn: Connection, session: SessionId, when: When, now: Stamp) -> Release | None:
    match when:
        case "now":
            return None
        case "free":
            return "free" if queue.busy(conn, session, now) else None
        case "held":
            return "person"
        case _:
            assert_never(when)
