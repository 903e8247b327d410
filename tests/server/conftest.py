"""What the cheap rooms share: a real database, a clock that stands still, one agent to talk to."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from salver_server.agents import store as agents
from salver_server.ids import AgentName, ChannelName, ChatId, MessageId, SessionId
from salver_server.intake import Intake
from salver_server.messages import HandoverState, Inbound
from salver_server.routing import Mode, book
from salver_server.routing import store as routing
from salver_server.sessions import store
from salver_server.store import Database, open_database
from tests.fakes.clock import FakeClock

SALVER = AgentName("salver")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "salver.db") as database:
        yield database


@dataclass(slots=True, kw_only=True)
class Desk:
    """A database with agents and chats in it, and an intake that takes messages for them."""

    database: Database
    clock: FakeClock
    intake: Intake
    told: list[SessionId] = field(default_factory=list[SessionId])
    """The sessions that the intake said something new is owed to."""
    keys: int = 0

    async def agent(self, name: str = SALVER) -> ChatId:
        """An agent with its chat on this computer."""
        now = self.clock.stamp()
        await self.database.write(lambda conn: agents.keep(conn, AgentName(name), "", now))
        return await self.database.write(
            lambda conn: book.wire_local(conn, AgentName(name), name, now)
        )

    async def chat(
        self, address: str, *agents: str, channel: str = "fake", mode: Mode = "shared"
    ) -> ChatId:
        """A chat on another channel that these agents serve."""
        now = self.clock.stamp()
        chat = await self.database.write(
            lambda conn: routing.new_chat(
                conn, ChannelName(channel), address, title=address, is_group=True, now=now
            )
        )
        for agent in agents:
            await self.database.write(
                lambda conn, agent=agent: routing.wire(
                    conn, chat, AgentName(agent), mode=mode, engagement="every-message"
                )
            )
        return chat

    def message(
        self,
        text: str = "hello",
        *,
        channel: str = "local",
        address: str = SALVER,
        thread: str | None = None,
        key: str | None = None,
        sender: str = "you",
        due_in: float | None = None,
        held: bool = False,
    ) -> Inbound:
        self.keys += 1
        now = self.clock.now()
        return Inbound(
            channel=ChannelName(channel),
            address=address,
            thread=thread,
            key=key or f"key-{self.keys}",
            sender=sender,
            text=text,
            sent_at=now,
            due_at=None if due_in is None else now + timedelta(seconds=due_in),
            held=held,
        )

    async def session(self, id_: SessionId) -> store.Session:
        row = await self.database.read(lambda conn: store.session(conn, id_))
        assert row is not None
        return row

    async def states(self, session: SessionId) -> list[HandoverState]:
        """The state of everything in this session, in order of its number."""
        rows = await self.database.read(
            lambda conn: conn.execute(
                "SELECT state FROM handovers WHERE session = ? ORDER BY seq", (session,)
            ).fetchall()
        )
        return [row[0] for row in rows]

    async def state(self, message: MessageId) -> HandoverState:
        rows = await self.database.read(
            lambda conn: conn.execute(
                "SELECT state FROM handovers WHERE message = ?", (message,)
            ).fetchall()
        )
        assert len(rows) == 1
        return rows[0][0]

    async def queue(self, session: SessionId) -> None:
        """Everything due counts as handed over."""
        now = self.clock.stamp()

        def queue(conn: store.Connection) -> None:
            seqs = [row.seq for row in store.due(conn, session, now)]
            store.mark_queued(conn, session, seqs, now)

        await self.database.write(queue)

    async def wake(self, session: SessionId) -> int:
        """A runner on record, as before a start; returns its generation."""
        now = self.clock.stamp()
        return await self.database.write(
            lambda conn: store.raise_generation(
                conn, session, runtime="fake", token_hash=b"hash", now=now
            )
        )


@pytest.fixture
async def desk(database: Database, clock: FakeClock) -> Desk:
    """One agent, `salver`, with its chat on this computer."""
    told: list[SessionId] = []
    intake = Intake(database=database, clock=clock, route=book.routed, accepted=told.append)
    desk = Desk(database=database, clock=clock, intake=intake, told=told)
    await desk.agent()
    return desk
