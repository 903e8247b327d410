"""Following one message: what the databases say, and between it what the turn shows live."""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Literal

from pydantic import BaseModel

from salver_server.api.rooms import Rooms
from salver_server.api.shapes import Delivery
from salver_server.kit.hub import Closed
from salver_server.messages import OPEN, Progress
from salver_server.sessions import store, views
from salver_server.sessions.views import MessageState, MessageView


class StateEvent(BaseModel):
    event: Literal["state"] = "state"
    state: MessageState
    reason: str
    trouble: str
    """Why the session waits, if something is wrong."""


class LiveEvent(BaseModel):
    """Live text, what replaces all text so far, or a tool call with its output and its end."""

    event: Literal["text", "again", "tool", "output", "tool-end"]
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
LONGEST_EARLY = 1_000_000
"""Characters of them: a runner may speak of a turn that never comes."""


MOST_DELIVERIES = 5
"""Deliveries that are read at a time: a session may have any number of them, each a megabyte long."""


async def follow(rooms: Rooms, message: MessageView) -> AsyncIterator[Followed]:
    """Events from now until the message has come to its end, or the server ends."""
    following = Following(rooms, message)
    with rooms.hub.listen(message.session) as listener:
        try:
            while not following.ended:
                for event in following.look():
                    yield event
                if following.behind:
                    continue
                while not following.ended and isinstance(news := await listener.next(), Progress):
                    for event in following.live(news):
                        yield event
        except Closed:
            return


class Following:
    """What has been shown of one message so far."""

    def __init__(self, rooms: Rooms, message: MessageView) -> None:
        self._rooms = rooms
        self._message = message
        self._turn: int | None = None
        self._position = 0
        self._shown: StateEvent | None = None
        self._early: deque[Progress] = deque()
        self._early_size = 0
        self.behind = False
        """There is more to be looked at than was read."""
        self.ended = False

    def live(self, progress: Progress) -> Iterator[LiveEvent]:
        """Live text may come before the row that says which turn the message is part of."""
        if progress.kind == "text" and not progress.text:
            return
        if progress.turn == self._turn:
            yield LiveEvent(event=progress.kind, text=progress.text)
        else:  # of a turn that is not ours, or not yet
            self._early.append(progress)
            self._early_size += len(progress.text)
            while len(self._early) > MOST_EARLY or self._early_size > LONGEST_EARLY:
                self._early_size -= len(self._early.popleft().text)

    def look(self) -> Iterator[Followed]:
        """Whatever is new in salver.db."""
        message, session, deliveries, reply = self._rooms.database.glance(
            lambda conn: (
                views.message(conn, self._message.id),
                store.session(conn, self._message.session),
                views.deliveries(
                    conn,
                    self._message.session,
                    since=self._message.accepted_at,
                    after=self._position,
                    most=MOST_DELIVERIES,
                ),
                views.reply(conn, self._message.id),
            )
        )
        assert message is not None
        state = StateEvent(
            state=message.state,
            reason=message.reason,
            trouble=self._trouble(session.trouble) if session and message.state in OPEN else "",
        )
        news = [state] if state != self._shown else []
        self._shown = state
        early = self._caught_up(message.turn)
        # Live events come after the news that it runs, and before the news of its end.
        yield from (*news, *early) if state.state == "running" else (*early, *news)
        yield from self._delivered(deliveries)
        self.behind = (
            len(deliveries) == MOST_DELIVERIES and self._position == deliveries[-1].position
        )
        if message.final and not self.behind:
            self.ended = True
            yield EndEvent(state=message.state, reason=message.reason, reply=reply)

    def _caught_up(self, turn: int | None) -> list[LiveEvent]:
        """Live events that came before it was known that this is the message's turn."""
        if turn == self._turn:
            return []
        self._turn, early, self._early = turn, self._early, deque()
        self._early_size = 0
        return [event for progress in early for event in self.live(progress)]

    def _delivered(self, deliveries: list[views.DeliveryView]) -> Iterator[DeliveryEvent]:
        for delivery in deliveries:
            if delivery.state in ("waiting", "sending"):
                return
            self._position = delivery.position
            if delivery.kind == "send" or self._message.id in delivery.answers:
                yield DeliveryEvent(delivery=Delivery.of(delivery))

    def _trouble(self, stored: str) -> str:
        if self._rooms.keeper.stopped:
            return "Everything is stopped. `salver resume` goes on."
        if self._rooms.keeper.state(self._message.session) == "waiting":
            return f"It waits for one of the {self._rooms.settings.most_sandboxes} sandboxes."
        if line := self._rooms.keeper.preparing(self._message.session):
            return f"The provider is being installed, once: {line}."
        return stored
