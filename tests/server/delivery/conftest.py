"""A courier between a real database and a fake platform, with replies to carry."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from salver_server.delivery import Courier
from salver_server.ids import ChatId, DeliveryId, SessionId
from salver_server.kit.background import background
from salver_server.sessions import store
from tests.fakes.channel import PATIENCE, FakeChannel
from tests.server.conftest import SALVER, Desk

OUTGOING = Path("outgoing")
"""Where the files of replies would lie; the fake platform reads none."""


@dataclass(slots=True, kw_only=True)
class Post:
    """Replies that are owed, and the courier that carries them."""

    desk: Desk
    channel: FakeChannel
    chats: dict[str, ChatId] = field(default_factory=dict[str, ChatId])
    changes: list[SessionId] = field(default_factory=list[SessionId])
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _seqs: int = 0

    async def owe(self, text: str, *, to: str = "family") -> DeliveryId:
        """A reply to something that somebody wrote in this chat."""
        if to not in self.chats:
            self.chats[to] = await self.desk.chat(to, SALVER)
        found = await self.desk.intake(self.desk.message(channel="fake", address=to))
        (session,) = found.sessions
        await self.desk.queue(session)
        row = await self.desk.session(session)
        seqs = len(await self.desk.states(session))
        self._seqs += 1
        now, seq = self.desk.clock.stamp(), self._seqs
        id_ = await self.desk.database.write(
            lambda conn: store.owe_delivery(
                conn, session, epoch=row.epoch, seq=seq, kind="reply", text=text, answers=[seqs], now=now
            )
        )  # fmt: skip
        assert id_ is not None
        return id_

    @asynccontextmanager
    async def courier(self, *, connected: bool = True) -> AsyncGenerator[Courier]:
        """A server's courier, as after its start."""
        spec = self.channel.spec
        async with background() as tasks, spec.open(self.desk.intake) as channel:
            courier = Courier(
                database=self.desk.database,
                clock=self.desk.clock,
                specs={spec.name: spec},
                channels={spec.name: channel} if connected else {},
                outgoing=OUTGOING,
                tasks=tasks,
                changed=self._note,
            )
            await courier.begin()
            yield courier

    async def changed(self, times: int = 1) -> None:
        """Return once so many calls have come to their end, whatever that was."""
        async with asyncio.timeout(PATIENCE):
            while len(self.changes) < times:
                self._changed.clear()
                await self._changed.wait()

    def _note(self, session: SessionId) -> None:
        self.changes.append(session)
        self._changed.set()

    async def state(self, id_: DeliveryId) -> str:
        return (await self.row(id_))["state"]

    async def row(self, id_: DeliveryId) -> dict[str, Any]:
        columns = ("state", "attempts", "next_at", "receipt", "reason")
        rows = await self.desk.database.read(
            lambda conn: conn.execute(
                "SELECT state, attempts, next_at, receipt, reason FROM deliveries WHERE id = ?",
                (id_,),
            ).fetchall()
        )
        return dict(zip(columns, rows[0], strict=True))

    async def put(self, id_: DeliveryId, state: str) -> None:
        """As a server left it that was killed."""
        await self.desk.database.write(
            lambda conn: conn.execute("UPDATE deliveries SET state = ? WHERE id = ?", (state, id_))
        )


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def post(desk: Desk, channel: FakeChannel) -> Post:
    return Post(desk=desk, channel=channel)
