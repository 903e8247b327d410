"""A session's side of the wall: turns over a real outbox, through the real gateway, to a scripted model."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from salver_runner import tools
from salver_runner.inbox import Message
from salver_runner.launch import Choice, Launch, Limits
from salver_runner.line import Line
from salver_runner.outbox import Outbox
from salver_runner.providers.pydantic_ai import PydanticAI
from salver_runner.providers.pydantic_ai.asking import Patience
from salver_runner.tools import Handed, Result, ToolSpec
from salver_runner.turn import JsonObject, Turn
from salver_server.clock import SystemClock
from salver_server.gateway import Gateway, open_gateway, token_hash
from salver_server.ids import AgentName, SessionId
from tests.fakes.meter import FakeMeter
from tests.fakes.model import KEY, MODEL, ScriptedModel
from tests.fakes.upstream import FakeUpstream
from tests.runner.bus import NO_WEB
from tests.runner.providers.hall import Hall, opened

SESSION = SessionId("s-1")
TOKEN = "session-token"
IMPATIENT = Patience(pauses=(0, 0, 0))


@dataclass(slots=True, kw_only=True)
class Door:
    """The gateway of one session, which can be taken away and put back."""

    gateway: Gateway
    path: Path
    model: ScriptedModel
    key: str | None = KEY

    async def open(self) -> None:
        await self.gateway.open(
            SESSION,
            self.path,
            agent=AgentName("house"),
            token_hash=token_hash(TOKEN),
            upstreams=[FakeUpstream(name="openai/v1", url=self.model.url, held=self.key)],
        )

    async def vanish(self) -> None:
        await self.gateway.close(SESSION)


@dataclass(slots=True, kw_only=True)
class Session:
    """Takes turns like the runner's loop does, one call each."""

    launch: Launch
    outbox: Outbox
    line: Line
    gateway: Path
    files: Path
    history: list[JsonObject] = field(default_factory=list[JsonObject])
    waiting: list[Message] = field(default_factory=list[Message])
    tools: Mapping[str, ToolSpec] = field(default_factory=tools.discover)
    provider: PydanticAI = field(default_factory=lambda: patient(IMPATIENT))
    seq: int = 0
    turns: list[Turn] = field(default_factory=list[Turn])

    def write(self, text: str, *, sender: str = "Ada", note: bool = False) -> Message:
        """Hand a message over, into the running turn if there is one."""
        self.seq += 1
        message = Message(
            seq=self.seq,
            id=f"m-{self.seq}",
            kind="note" if note else "message",
            target=None,
            sender=sender,
            sent_at="2026-11-22T09:57:00.000Z",
            text=text,
            wakes=not note,
        )
        self.waiting.append(message)
        return message

    def begin(self, *, attempt: int = 1, note: str = "") -> Turn:
        claimed: set[int] = set()

        def pending() -> list[Message]:
            fresh = [message for message in self.waiting if message.seq not in claimed]
            claimed.update(message.seq for message in fresh)
            return fresh

        turn = Turn(
            launch=self.launch,
            number=self.outbox.next_turn(),
            attempt=attempt,
            outbox=self.outbox,
            line=self.line,
            gateway=self.gateway,
            files=self.files,
            web=NO_WEB,
            tools=self.tools,
            pending=pending,
            history=self.history,
            note=note,
        )
        turn.claim()
        self.turns.append(turn)
        return turn

    async def run(self, turn: Turn) -> str:
        """The reply; what the provider raises comes through, after the turn has been closed."""
        try:
            await self.provider.turn(turn)
        finally:
            self.history = list(turn.kept) if turn.anew else self.history + turn.kept
            self.waiting = [message for message in self.waiting if message not in turn.seen]
            self.outbox.close(
                turn.number,
                turn.attempt,
                acks=[],
                released=[],
                reply=None,
                continuation=("pydantic-ai", list(turn.kept)),
                anew=turn.anew,
            )
        return "".join(turn.said).strip()

    async def ask(self, text: str) -> str:
        self.write(text)
        return await self.run(self.begin())

    def limit(self, rounds: int) -> None:
        self.launch = replace(self.launch, limits=Limits(rounds=rounds, seconds=60))


def patient(patience: Patience) -> PydanticAI:
    """The provider as it waits for others, its pauses never shortened."""
    return PydanticAI(patience, spread=lambda: 1.0)


def tool(name: str, run: Callable[[Mapping[str, object]], Result]) -> dict[str, ToolSpec]:
    """A tool that answers at once."""

    async def running(arguments: Mapping[str, object], _handed: Handed) -> Result:
        await asyncio.sleep(0)
        return run(arguments)

    parameters = {"type": "object", "properties": {"command": {"type": "string"}}}
    spec = ToolSpec(name=name, description="", parameters=parameters, longest=60, run=running)
    return {name: spec}


@pytest.fixture
async def model() -> AsyncGenerator[ScriptedModel]:
    async with ScriptedModel() as model:
        yield model


@pytest.fixture
async def door(model: ScriptedModel) -> AsyncGenerator[Door]:
    with tempfile.TemporaryDirectory(prefix="line-") as folder:  # sockets want short paths
        async with open_gateway(SystemClock(), meter=FakeMeter()) as gateway:
            door = Door(gateway=gateway, path=Path(folder) / "gateway", model=model)
            await door.open()
            yield door


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that this process works in, as a runner does."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def session(door: Door, tmp_path: Path, workspace: Path) -> Session:  # noqa: ARG001 - turns run in it
    choice = Choice(provider="openai/v1", wire="chat", model=MODEL, window=0, sees=True)
    return talking(tmp_path, door.path, choice)


@pytest.fixture
async def hall() -> AsyncGenerator[Hall]:
    with tempfile.TemporaryDirectory(prefix="line-") as folder:  # sockets want short paths
        async with opened(Path(folder) / "gateway") as hall:
            yield hall


def talking(folder: Path, gateway: Path, *choices: Choice) -> Session:
    """A session whose models are these."""
    launch = Launch(
        session=SESSION,
        generation=1,
        epoch=1,
        read=0,
        agent="house",
        provider="pydantic-ai",
        models=choices,
        instructions="You are the house agent.",
        token=TOKEN,
        limits=Limits(rounds=20, seconds=60),
        attempts={},
        failpoint="",
    )
    outbox = Outbox(folder / "outbound.db", epoch=1, generation=1, read=0)
    line = silent_line(folder / "line")
    return Session(launch=launch, outbox=outbox, line=line, gateway=gateway, files=folder)


def silent_line(path: Path) -> Line:
    """A line with nobody at its other end."""
    return Line(path, generation=1, rung=lambda: None, given_up=lambda: None)
