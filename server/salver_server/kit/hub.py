"""Tell whoever listens, at once and only while they listen; nothing is kept."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Generic, TypeVar

Topic = TypeVar("Topic")
Event = TypeVar("Event")

LONGEST_QUEUE = 10_000
"""Events that a listener may leave unread; a slower one is cut off and has to look anew."""


class Lagging(Exception):
    """This listener was too slow and has missed events."""


class Closed(Exception):
    """Nothing will be told any more."""


class Hub(Generic[Topic, Event]):
    def __init__(self) -> None:
        self._listeners: dict[Topic, set[asyncio.Queue[Event | None]]] = {}

    def publish(self, topic: Topic, event: Event) -> None:
        for queue in self._listeners.get(topic, ()):
            if queue.qsize() <= LONGEST_QUEUE:
                queue.put_nowait(event)

    def close(self) -> None:
        """Let every listener go."""
        for queues in self._listeners.values():
            for queue in queues:
                queue.put_nowait(None)

    @contextmanager
    def listen(self, topic: Topic) -> Generator["Listener[Event]"]:
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._listeners.setdefault(topic, set()).add(queue)
        try:
            yield Listener(queue)
        finally:
            listeners = self._listeners[topic]
            listeners.discard(queue)
            if not listeners:
                del self._listeners[topic]


class Listener(Generic[Event]):
    def __init__(self, queue: asyncio.Queue[Event | None]) -> None:
        self._queue = queue

    async def next(self) -> Event:
        """The next event; raises `Lagging` once events had to be dropped, `Closed` at the end."""
        if self._queue.qsize() > LONGEST_QUEUE:
            raise Lagging
        event = await self._queue.get()
        if event is None:
            raise Closed
        return event
