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


class Hub(Generic[Topic, Event]):
    def __init__(self) -> None:
        self._listeners: dict[Topic, set[asyncio.Queue[Event]]] = {}

    def publish(self, topic: Topic, event: Event) -> None:
        for queue in self._listeners.get(topic, ()):
            if queue.qsize() <= LONGEST_QUEUE:
                queue.put_nowait(event)

    @contextmanager
    def listen(self, topic: Topic) -> Generator["Listener[Event]"]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners.setdefault(topic, set()).add(queue)
        try:
            yield Listener(queue)
        finally:
            listeners = self._listeners[topic]
            listeners.discard(queue)
            if not listeners:
                del self._listeners[topic]


class Listener(Generic[Event]):
    def __init__(self, queue: asyncio.Queue[Event]) -> None:
        self._queue = queue

    async def next(self) -> Event:
        """The next event; raises `Lagging` once events had to be dropped."""
        if self._queue.qsize() > LONGEST_QUEUE:
            raise Lagging
        return await self._queue.get()
