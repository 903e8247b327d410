"""One session in a real database, with somebody who writes rows as its runner would."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from salver_server.ids import ChatId, MessageId, SessionId
from salver_server.sessions import store
from salver_server.sessions.outgoing import Taken
from salver_server.sessions.reading import Row
from salver_server.sessions.take import NOTHING, News, take
from tests.server.conftest import Desk
from tests.server.sessions.stage import Stage, set_stage


@dataclass(slots=True)
class Scribe:
    """Rows as a runner writes them: numbered on, each with its turn."""

    seq: int = 0
    turn: int = 1

    def row(self, kind: str, message: Any = None, /, **body: Any) -> Row:
        self.seq += 1
        return Row(
            seq=self.seq,
            turn=self.turn,
            attempt=1,
            kind=kind,
            message=message,
            at="2030-01-02T12:00:00.000Z",
            body=body,
        )

    def claim(self, seq: int) -> Row:
        return self.row("claim", seq)

    def release(self, seq: int) -> Row:
        return self.row("release", seq)

    def ack(self, seq: int, outcome: str = "answered", reason: str = "") -> Row:
        return self.row("ack", seq, outcome=outcome, reason=reason)

    def reply(self, text: str, *answers: int) -> Row:
        return self.row("reply", text=text, answers=list(answers), outcome="answered")

    def send(self, text: str) -> Row:
        return self.row("send", text=text)

    def answer(self, text: str, *seqs: int) -> list[Row]:
        """A whole turn over these messages."""
        claims = [self.claim(seq) for seq in seqs]
        return [*claims, self.reply(text, *seqs), *(self.ack(seq) for seq in seqs)]


@dataclass(slots=True, kw_only=True)
class Talk:
    """One session of `salver`, on this computer or in another chat, and its runner's rows."""

    desk: Desk
    session: SessionId
    scribe: Scribe = field(default_factory=Scribe)
    messages: dict[int, MessageId] = field(default_factory=dict[int, MessageId])
    """Everything that was said here, by its number."""

    async def say(
        self, text: str = "hello", *, channel: str = "local", address: str = "salver"
    ) -> int:
        """Somebody writes, and it is handed over; its number."""
        seq = await self.write(text, channel=channel, address=address)
        await self.desk.queue(self.session)
        return seq

    async def write(self, text: str = "hello", **about: Any) -> int:
        """Somebody writes, and it is not handed over yet."""
        found = await self.desk.intake(self.desk.message(text, **about))
        assert found.sessions == (self.session,)
        seq = len(await self.desk.states(self.session))
        self.messages[seq] = found.message
        return seq

    async def take(
        self,
        *rows: Row,
        before: store.Session | None = None,
        taken: Mapping[int, Taken] = NOTHING,
    ) -> News:
        """What becomes of these rows; `before` is the session as it was when they were read."""
        session = before or await self.row()
        now = self.desk.clock.stamp()
        return await self.desk.database.write(lambda conn: take(conn, session, rows, now, taken))

    async def row(self) -> store.Session:
        return await self.desk.session(self.session)

    async def states(self) -> list[str]:
        return [str(state) for state in await self.desk.states(self.session)]

    async def told(self) -> list[tuple[str, str, list[int]]]:
        """Kind, text and answered numbers of everything that is owed to a chat, in order."""
        rows = await self.ask(
            "SELECT kind, text, answers FROM deliveries WHERE session = ? ORDER BY position"
        )
        known = {message: seq for seq, message in self.messages.items()}
        return [
            (kind, text, [known[id_] for id_ in json.loads(answers)])
            for kind, text, answers in rows
        ]

    async def chats(self) -> list[ChatId]:
        """The chats of everything that is owed, in order."""
        rows = await self.ask("SELECT chat FROM deliveries WHERE session = ? ORDER BY position")
        return [row[0] for row in rows]

    async def notes(self) -> list[str]:
        """What the server has told the agent, in order."""
        rows = await self.ask(
            "SELECT i.text FROM handovers h JOIN intake i ON i.id = h.message"
            " WHERE h.session = ? AND i.kind = 'note' ORDER BY h.seq"
        )
        return [row[0] for row in rows]

    async def attempts(self) -> list[int]:
        rows = await self.ask("SELECT attempts FROM handovers WHERE session = ? ORDER BY seq")
        return [row[0] for row in rows]

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return await self.read(lambda conn: conn.execute(sql, (self.session,)).fetchall())

    async def read(self, job: Callable[[store.Connection], Any]) -> Any:
        return await self.desk.database.read(job)


@pytest.fixture
async def talk(desk: Desk) -> Talk:
    """A session with one message in it, handed over."""
    found = await desk.intake(desk.message("hello"))
    (session,) = found.sessions
    await desk.queue(session)
    return Talk(desk=desk, session=session, messages={1: found.message})


@pytest.fixture
async def stage(desk: Desk, quick_path: Path) -> AsyncIterator[Stage]:
    """The bus, where nobody has written yet."""
    async with set_stage(desk, quick_path) as stage:
        yield stage
