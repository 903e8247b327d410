"""FakeChannel: a platform that keeps what it was sent, and refuses, fails or dawdles when told to."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

from salver_server.channels import ChannelSpec, Intake, Receipt
from salver_server.ids import ChannelName
from salver_server.messages import Inbound, Outbound
from tests.fakes.clock import NOON

PATIENCE = 20.0


class FakeChannel:
    """Keeps every promise of the contract; `spec` is what a channel's file would export."""

    def __init__(self, name: str = "fake", *, idempotent: bool = False) -> None:
        self.calls: list[Outbound] = []
        """Every call, whatever became of it."""
        self.sent: list[Outbound] = []
        """What the platform has, in order."""
        self.is_open = False
        self.spec = ChannelSpec(
            name=ChannelName(name), title="Fake", idempotent=idempotent, open=self._open
        )
        self._intake: Intake | None = None
        self._refusals: deque[Exception] = deque()
        self._lost: deque[Exception] = deque()
        self._slow: dict[str, asyncio.Event] = {}
        self._happened = asyncio.Event()
        self._received = 0

    # What a test tells the platform

    def refuse(self, *errors: Exception) -> None:
        """The next calls raise these, one each, and send nothing."""
        self._refusals.extend(errors)

    def lose_answers(self, *errors: Exception) -> None:
        """The next calls send, but then raise these, one each."""
        self._lost.extend(errors)

    def dawdle(self, address: str) -> asyncio.Event:
        """Calls for this address wait until the event is set."""
        return self._slow.setdefault(address, asyncio.Event())

    async def receive(
        self,
        text: str,
        *,
        address: str = "family",
        thread: str | None = None,
        from_: str = "ann",
        key: str | None = None,
        sent_at: datetime = NOON,
    ) -> object:
        """Somebody writes; returns what the intake answered, once it may be acknowledged."""
        assert self._intake is not None, "the channel is not open"
        self._received += 1
        message = Inbound(
            channel=self.spec.name,
            address=address,
            thread=thread,
            key=key or f"platform-{self._received}",
            sender=from_,
            text=text,
            sent_at=sent_at,
        )
        return await self._intake(message)

    # What a test asks

    def sent_to(self, address: str) -> list[str]:
        """The texts that the platform has for this address, in order."""
        return [message.text for message in self.sent if message.address == address]

    async def called(self, times: int) -> None:
        """Return once it was called so often."""
        async with asyncio.timeout(PATIENCE):
            while len(self.calls) < times:
                self._happened.clear()
                await self._happened.wait()

    # What the house uses

    async def send(self, message: Outbound, /) -> Receipt:
        self.calls.append(message)
        self._happened.set()
        if slow := self._slow.get(message.address):
            await slow.wait()
        if self._refusals:
            raise self._refusals.popleft()
        if not (self.spec.idempotent and any(known.id == message.id for known in self.sent)):
            self.sent.append(message)
        if self._lost:
            raise self._lost.popleft()
        return Receipt(id=f"{self.spec.name}-{len(self.sent)}")

    @asynccontextmanager
    async def _open(self, intake: Intake) -> AsyncGenerator["FakeChannel"]:
        self._intake, self.is_open = intake, True
        try:
            yield self
        finally:
            self._intake, self.is_open = None, False
