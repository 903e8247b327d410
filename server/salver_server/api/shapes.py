"""Shapes that several resources share."""

from dataclasses import asdict

from pydantic import BaseModel

from salver_server import messages
from salver_server.messages import DeliveryState, Release
from salver_server.secrets import KeychainState, Standing
from salver_server.sessions.views import DeliveryView, MessageState, MessageView
from salver_server.usage.views import Sums


class Spent(BaseModel):
    """What calls to models took. Cost is in millionths of a dollar."""

    calls: int
    running: int
    """Of the calls: under way; told by turn and by call only."""
    failed: int
    untold: int
    """Cut off, or lost with the server: they count as what they had reserved."""
    unpriced: int
    """Calls whose cost is not known: the true sum is larger."""
    input: int
    """Tokens, those of the cache included."""
    output: int
    cache_read: int
    cache_write: int
    cost: int

    @staticmethod
    def of(sums: Sums) -> "Spent":
        return Spent(**asdict(sums))


class File(BaseModel):
    """What came with a message, in either direction; `GET /files/<id>` gives it out."""

    id: str
    name: str
    type: str
    """As found by looking inside."""
    size: int

    @staticmethod
    def of(file: messages.File) -> "File":
        return File(id=file.id, name=file.name, type=file.type, size=file.size)


class Message(BaseModel):
    id: str
    session: str
    seq: int
    sender: str
    text: str
    files: list[File]
    state: MessageState
    position: int | None
    """Its place in the queue, counted from 1, while it is held."""
    release: Release | None
    """What ends its waiting there: a free agent, or a person."""
    reason: str
    delivery: str | None
    """What told the person: the reply, or the failure."""
    attempts: int
    turn: int | None
    """The turn that took it; messages may share one."""
    spent: Spent | None
    """What that turn took so far; null where it was not asked for, or nothing is known."""
    accepted_at: str
    due_at: str
    changed_at: str

    @staticmethod
    def of(view: MessageView, sums: Sums | None = None) -> "Message":
        return Message(
            id=view.id,
            session=view.session,
            seq=view.seq,
            sender=view.sender,
            text=view.text,
            files=[File.of(file) for file in view.files],
            state=view.state,
            position=view.position,
            release=view.release,
            reason=view.reason,
            delivery=view.delivery,
            attempts=view.attempts,
            turn=view.turn,
            spent=Spent.of(sums) if sums else None,
            accepted_at=view.accepted_at,
            due_at=view.due_at,
            changed_at=view.changed_at,
        )


class Delivery(BaseModel):
    id: str
    kind: str
    text: str
    files: list[File]
    state: DeliveryState
    reason: str
    answers: list[str]
    created_at: str

    @staticmethod
    def of(view: DeliveryView) -> "Delivery":
        return Delivery(
            id=view.id,
            kind=view.kind,
            text=view.text,
            files=[File.of(file) for file in view.files],
            state=view.state,
            reason=view.reason,
            answers=list(view.answers),
            created_at=view.created_at,
        )


class KeychainStanding(BaseModel):
    """How the key stands that seals every secret."""

    state: KeychainState
    advice: str
    """What is the case and what to do now."""

    @staticmethod
    def of(standing: Standing) -> "KeychainStanding":
        return KeychainStanding(state=standing.state, advice=standing.advice)
