"""Shapes that several resources share."""

from pydantic import BaseModel

from salver_server.messages import DeliveryState
from salver_server.sessions.views import DeliveryView, MessageState, MessageView


class Message(BaseModel):
    id: str
    session: str
    seq: int
    sender: str
    text: str
    state: MessageState
    reason: str
    attempts: int
    accepted_at: str
    due_at: str
    changed_at: str

    @staticmethod
    def of(view: MessageView) -> "Message":
        return Message(
            id=view.id,
            session=view.session,
            seq=view.seq,
            sender=view.sender,
            text=view.text,
            state=view.state,
            reason=view.reason,
            attempts=view.attempts,
            accepted_at=view.accepted_at,
            due_at=view.due_at,
            changed_at=view.changed_at,
        )


class Delivery(BaseModel):
    id: str
    kind: str
    text: str
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
            state=view.state,
            reason=view.reason,
            answers=list(view.answers),
            created_at=view.created_at,
        )
