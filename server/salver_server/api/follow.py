"""Following one message: what the databases say, and between it what the turn shows live."""

from collections.abc import AsyncIterator
from typing import Literal

from pydantic import BaseModel

from salver_server.api.rooms import Rooms
from salver_server.api.shapes import Delivery
from salver_server.ids import SessionId
from salver_server.messages import Event, Progress
from salver_server.sessions import store, views
from salver_server.sessions.views import MessageState, MessageView


class StateEvent(BaseModel):
    event: Literal["state"] = "state"
    state: MessageState
    reason: str
    trouble: str
    """Why the session waits, if something is wrong."""


class LiveEvent(BaseModel):
    """Live text, or a tool call: `text`, `tool`, `output`, `tool-end`."""

    event: Literal["text", "tool", "output", "tool-end"]
    text: str


class DeliveryEvent(BaseModel):
    event: Literal["delivery"] = "delivery"
    delivery: Delivery


class EndEvent(BaseModel):
    event: Literal["end"] = "end"
    state: MessageState
    reason: str
    reply: str
    """The final reply; empty if there is none."""


Followed = StateEvent | LiveEvent | DeliveryEvent | EndEvent

MOST_EARLY = 2000
"""Live events kept until it is known which turn the message is part of."""


async def follow(rooms: Rooms, view: MessageView) -> AsyncIterator[Followed]:
    """Events from now until the message has come to its end."""
    session = view.session
    position = 0
    shown: tuple[MessageState, str, str] | None = None
    turn: int | None = None
    early: list[Progress] = []
    with rooms.hub.listen(session) as listener:
        event: Event | None = None
        while True:
            if isinstance(event, Progress):
                if turn is None:
                    early = [*early[-MOST_EARLY:], event]
                elif event.turn == turn:
                    yield LiveEvent(event=event.kind, text=event.text)
                event = await listener.next()
                continue
            now, trouble, deliveries = await _look(rooms, view, session, position)
            if turn != now.turn:
                turn = now.turn
                for held in early:
                    if held.turn == turn:
                        yield LiveEvent(event=held.kind, text=held.text)
                early = []
            if shown != (now.state, now.reason, trouble):
                shown = (now.state, now.reason, trouble)
                yield StateEvent(state=now.state, reason=now.reason, trouble=trouble)
            for delivery in deliveries:
                if delivery.state not in ("delivered", "perhaps", "failed"):
                    break
                position = delivery.position
                if delivery.kind == "send" or view.id in delivery.answers:
                    yield DeliveryEvent(delivery=Delivery.of(delivery))
            if now.final:
                reply = await rooms.database.read(lambda conn: views.reply(conn, view.id))
                yield EndEvent(state=now.state, reason=now.reason, reply=reply)
                return
            event = await listener.next()


async def _look(
    rooms: Rooms, view: MessageView, session: SessionId, position: int
) -> tuple[MessageView, str, list[views.DeliveryView]]:
    now, row, deliveries = await rooms.database.read(
        lambda conn: (
            views.message(conn, view.id),
            store.session(conn, session),
            views.deliveries(conn, session, since=view.accepted_at, after=position),
        )
    )
    assert now is not None
    trouble = row.trouble if row else ""
    if rooms.keeper.stopped:
        trouble = "Everything is stopped. `salver resume` goes on."
    elif rooms.keeper.state(session) == "waiting":
        trouble = f"It waits for one of the {rooms.settings.most_sandboxes} sandboxes."
    return now, trouble, deliveries
