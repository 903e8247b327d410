"""What the cheap rooms share: a real database, a clock that stands still, one agent to talk to."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from salver_server.agents import Definition
from salver_server.agents import store as agents
from salver_server.errors import Rejected
from salver_server.files import Uploads
from salver_server.ids import AgentName, ChannelName, ChatId, FileId, MessageId, SessionId
from salver_server.intake import Intake
from salver_server.messages import HandoverState, Inbound, Quoted, When
from salver_server.routing import Mode, book
from salver_server.routing import store as routing
from salver_server.sessions import store
from salver_server.sessions.outgoing import Outgoing, open_outgoing
from salver_server.settings import Places, Settings
from salver_server.store import Database, open_database
from salver_server.store.migrate import migrate
from tests.fakes.clock import FakeClock
from tests.fakes.keychain import FakeKeychain

SALVER = AgentName("salver")
MEMORY = "/dev/shm"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keychain() -> Iterator[FakeKeychain]:
    keychain = FakeKeychain()
    yield keychain
    keychain.answer()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which nothing has happened yet."""
    path = tmp_path_factory.mktemp("migrated") / "salver.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        migrate(conn)
    return path


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A folder of memory where there is one: files there are as real, and `fsync` costs nothing."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="salver-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
async def database(quick_path: Path, migrated: Path) -> AsyncIterator[Database]:
    shutil.copy(migrated, quick_path / "salver.db")
    async with open_database(quick_path / "salver.db") as database:
        yield database


class AnyModel:
    """Accounts that have every model with a short name."""

    def said(self, agent: AgentName, definition: Definition) -> str:
        assert agent
        return "/".join(["demo", *filter(None, [definition.model])])

    def check(self, agent: AgentName, definition: Definition, name: str) -> str:
        assert agent
        assert definition
        if len(name) > 9:
            raise Rejected("There is no such model.")
        return name


@dataclass(slots=True, kw_only=True)
class Desk:
    """A database with agents and chats in it, and an intake that takes messages for them."""

    database: Database
    clock: FakeClock
    places: Places
    uploads: Uploads
    intake: Intake
    told: list[SessionId] = field(default_factory=list[SessionId])
    """The sessions that the intake said something new is owed to."""
    owed: list[ChatId] = field(default_factory=list[ChatId])
    """The chats that the intake said something is owed to."""
    keys: int = 0

    async def agent(self, name: str = SALVER) -> ChatId:
        """An agent with its chat on this computer."""
        now = self.clock.stamp()
        await self.database.write(lambda conn: agents.keep(conn, AgentName(name), "", now))
        return await self.database.write(
            lambda conn: book.wire_local(conn, AgentName(name), now=now)
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
        files: Sequence[FileId] = (),
        when: When = "now",
        quoted: Quoted | None = None,
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
            files=tuple(files),
            when=when,
            quoted=quoted,
        )

    async def upload(self, name: str = "a.txt", data: bytes = b"a") -> FileId:
        """A file that waits for its message."""

        async def body() -> AsyncIterator[bytes]:
            yield data

        return (await self.uploads.take(name, body())).id

    def outgoing(
        self, places: Places, *, disk: int = 100_000, **about: Any
    ) -> AbstractAsyncContextManager[Outgoing]:
        """Takes what sandboxes send, so many bytes of each."""

        async def may_take(_: AgentName) -> int:
            return disk

        asked: dict[str, Any] = {"keep_free": 0, **about}
        settings = Settings(home=places.home, **asked)
        return open_outgoing(
            database=self.database, places=places, settings=settings, disk=may_take
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
async def desk(database: Database, clock: FakeClock, quick_path: Path) -> Desk:
    """One agent, `salver`, with its chat on this computer."""
    told: list[SessionId] = []
    settings = Settings(home=quick_path / "home", keep_free=0)
    places = Places(settings.home, quick_path / "sockets")
    uploads = Uploads(places=places, settings=settings, database=database, clock=clock)
    await uploads.begin()
    owed: list[ChatId] = []
    intake = Intake(
        database=database,
        clock=clock,
        uploads=uploads,
        route=book.routed,
        accepted=told.append,
        owed=owed.append,
        models=AnyModel(),
    )
    desk = Desk(
        database=database,
        clock=clock,
        places=places,
        uploads=uploads,
        intake=intake,
        told=told,
        owed=owed,
    )
    await desk.agent()
    return desk
