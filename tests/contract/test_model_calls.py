"""What a runner asks of every vendor is what the gateway lets out, and what it answers is counted."""

import base64
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from salver_runner.inbox import File
from salver_runner.launch import Choice, Wire
from salver_runner.tools import Result
from salver_server.clock import SystemClock
from salver_server.gateway import open_gateway, token_hash
from salver_server.ids import AgentName
from tests.fakes.meter import FakeMeter
from tests.fakes.model import KEY, MODEL, ScriptedModel
from tests.fakes.upstream import FakeUpstream
from tests.runner.providers.conftest import SESSION, TOKEN, Session, talking, tool, workspace

__all__ = ["workspace"]

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    name: str
    wire: Wire
    fake: str
    model: str = MODEL


VENDORS = [
    Vendor(name="openai-compatible", wire="chat", fake="chat"),
    Vendor(name="openrouter", wire="chat", fake="chat", model="maker/scripted"),
    Vendor(name="ollama", wire="chat", fake="ollama"),
    Vendor(name="openai", wire="responses", fake="responses"),
    Vendor(name="google", wire="google", fake="google"),
    Vendor(name="anthropic", wire="anthropic", fake="anthropic"),
]


@dataclass(slots=True, kw_only=True)
class Stage:
    session: Session
    model: ScriptedModel
    meter: FakeMeter


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.name)
async def stage(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    workspace: Path,  # noqa: ARG001 - turns run in it
) -> AsyncGenerator[Stage]:
    vendor: Vendor = request.param
    meter = FakeMeter()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="line-"))
        model = await stack.enter_async_context(
            ScriptedModel(wire=vendor.fake, models=[vendor.model])
        )
        gateway = await stack.enter_async_context(open_gateway(SystemClock(), meter=meter))
        await gateway.open(
            SESSION,
            Path(folder) / "gateway",
            agent=AgentName("house"),
            token_hash=token_hash(TOKEN),
            upstreams=[
                FakeUpstream(
                    name=vendor.name,
                    wire=vendor.wire,
                    url=model.url,
                    held=KEY if model.key else None,
                )
            ],
        )
        choice = Choice(
            provider=vendor.name, wire=vendor.wire, model=vendor.model, window=0, sees=True
        )
        session = talking(tmp_path, Path(folder) / "gateway", choice)
        yield Stage(session=session, model=model, meter=meter)


async def test_turns_with_tools_thoughts_and_pictures_go_out_and_are_counted(stage: Stage) -> None:
    session = stage.session
    session.tools = tool("shell", lambda _: Result(text="ok"))
    assert await session.ask("!think hmm\n!shells a ;; b\n!say so it is") == "so it is"
    message = session.write("!say nice")
    session.waiting = [
        replace(message, files=(File(name="dot.png", type="image/png", size=len(PNG)),))
    ]
    (session.files / message.id).mkdir()
    (session.files / message.id / "dot.png").write_bytes(PNG)
    assert await session.run(session.begin()) == "nice"
    assert await session.ask("!say next") == "next"

    last = await stage.meter.over(4)
    assert [ended.ask.turn for ended in stage.meter.ended] == [1, 1, 2, 3]
    assert last.ask.model == stage.model.models[0]
    assert all(ended.tokens and ended.tokens.input > 0 for ended in stage.meter.ended)
    assert last.tokens is not None
    assert last.tokens.output > 0


async def test_a_turn_that_reaches_its_limit_goes_out(stage: Stage) -> None:
    session = stage.session
    session.tools = tool("shell", lambda _: Result(text="ok"))
    session.limit(2)
    assert await session.ask("!shell 1\n!shell 2\n!shell 3\n!say done") == "Left undone: 3. done"
