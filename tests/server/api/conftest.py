"""The real application behind its real socket, in a house where everything is stopped: nothing starts."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from salver_server.app import Running, open_house
from salver_server.ids import MessageId, SessionId
from salver_server.messages import Changed
from salver_server.sessions import store
from salver_server.sessions.outgoing import Taken
from salver_server.sessions.reading import Row
from salver_server.sessions.take import NOTHING, take
from salver_server.settings import Settings
from tests.fakes.clock import FakeClock
from tests.fakes.keychain import FakeKeychain
from tests.fakes.runtime import FAKE, NAME
from tests.server.sessions.conftest import Scribe


@dataclass(slots=True, kw_only=True)
class House:
    """A running server, a client on its unix socket, and somebody who plays the runners."""

    running: Running
    client: httpx2.AsyncClient
    clock: FakeClock

    async def ask(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        """The parsed answer, which must have this status."""
        answer = await self.client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def refused(self, method: str, path: str, body: object = None) -> tuple[int, str, str]:
        """Status, kind and sentence of a refusal."""
        answer = await self.client.request(method, path, json=body)
        error = answer.json()["error"]
        return answer.status_code, error["kind"], error["message"]

    async def say(self, text: str = "hello", **body: object) -> Any:
        return await self.ask("POST", "/messages", {"text": text, **body}, status=202)

    async def hand_over(self, session: str) -> None:
        """Everything due counts as handed over."""
        now = self.clock.stamp()
        id_ = SessionId(session)

        def queue(conn: store.Connection) -> None:
            store.mark_queued(conn, id_, [row.seq for row in store.due(conn, id_, now)], now)

        await self.write(queue)
        self.changed(session)

    async def wake(self, session: str) -> None:
        """A runner on record."""
        now = self.clock.stamp()
        await self.write(
            lambda conn: store.raise_generation(
                conn, SessionId(session), runtime=NAME, token_hash=b"hash", now=now
            )
        )

    async def take(self, session: str, *rows: Row, taken: Mapping[int, Taken] = NOTHING) -> None:
        """A runner wrote these rows; what is owed to chats is delivered."""
        now = self.clock.stamp()
        id_ = SessionId(session)

        def apply(conn: store.Connection) -> Any:
            row = store.session(conn, id_)
            assert row is not None
            return take(conn, row, rows, now, taken)

        news = await self.write(apply)
        self.changed(session)
        for chat in news.chats:
            self.running.rooms.courier.ask(chat)

    async def answer(self, message: Any, text: str = "hi") -> None:
        """A runner answers the only message of its session."""
        await self.hand_over(message["session"])
        await self.take(message["session"], *Scribe().answer(text, 1))

    def changed(self, session: str) -> None:
        id_ = SessionId(session)
        self.running.rooms.hub.publish(id_, Changed(session=id_))

    async def write(self, job: Callable[[store.Connection], Any]) -> Any:
        return await self.running.rooms.database.write(job)

    async def state(self, message: str, *, until: str) -> Any:
        """The message, once it has come to this state."""
        id_ = MessageId(message)
        path = f"/messages/{id_}"
        found = await self.ask("GET", path)
        with self.running.rooms.hub.listen(SessionId(found["session"])) as listener:
            while (found := await self.ask("GET", path))["state"] != until:
                await listener.next()
        return found


@pytest.fixture
async def house(quick_path: Path, clock: FakeClock, keychain: FakeKeychain) -> AsyncIterator[House]:
    settings = Settings(home=quick_path / "home", runtime=NAME, keep_free=0)
    async with (
        open_house(settings, clock=clock, runtime_specs={NAME: FAKE}, keychain=keychain) as running,
        httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(uds=str(running.socket)),
            base_url="http://salver",
            timeout=20,
        ) as client,
    ):
        house = House(running=running, client=client, clock=clock)
        await house.ask("POST", "/stop")
        yield house
