"""Every wire carries the same turns: what is said, called, thought and seen comes through whole."""

import asyncio
import base64
import json
import tempfile
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from salver_runner.inbox import File
from salver_runner.launch import Choice, Wire
from salver_runner.tools import Result
from salver_runner.turn import Failed
from salver_server.clock import SystemClock
from salver_server.gateway import open_gateway, token_hash
from salver_server.ids import AgentName
from tests.fakes.meter import FakeMeter
from tests.fakes.model import MODEL, ScriptedModel
from tests.fakes.upstream import FakeUpstream
from tests.runner.providers.conftest import SESSION, TOKEN, Session, talking, tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    name: str
    wire: Wire
    fake: str
    model: str = MODEL

    @property
    def choice(self) -> Choice:
        return Choice(provider=self.name, wire=self.wire, model=self.model, window=0, sees=True)


VENDORS = [
    Vendor(name="openai-compatible", wire="chat", fake="chat"),
    Vendor(name="openrouter", wire="chat", fake="chat", model="maker/scripted"),
    Vendor(name="openai", wire="responses", fake="responses"),
    Vendor(name="ollama", wire="chat", fake="ollama"),
    Vendor(name="google", wire="google", fake="google"),
    Vendor(name="anthropic", wire="anthropic", fake="anthropic"),
]

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@pytest.fixture(params=VENDORS, ids=lambda vendor: f"{vendor.name}-{vendor.wire}")
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return request.param


@pytest.fixture
async def model(vendor: Vendor) -> AsyncGenerator[ScriptedModel]:
    async with ScriptedModel(wire=vendor.fake, models=[vendor.model]) as model:
        yield model


@pytest.fixture
async def session(
    vendor: Vendor,
    model: ScriptedModel,
    tmp_path: Path,
    workspace: Path,  # noqa: ARG001 - turns run in it
) -> AsyncGenerator[Session]:
    upstream = FakeUpstream(
        name=vendor.name, wire=vendor.wire, url=model.url, held=model.key, title="The vendor"
    )
    with tempfile.TemporaryDirectory(prefix="line-") as folder:  # sockets want short paths
        path = Path(folder) / "gateway"
        async with open_gateway(SystemClock(), meter=FakeMeter()) as gateway:
            await gateway.open(
                SESSION,
                path,
                agent=AgentName("house"),
                token_hash=token_hash(TOKEN),
                upstreams=[upstream],
            )
            yield talking(tmp_path, path, vendor.choice)


async def test_an_answer_is_streamed_piece_by_piece(session: Session) -> None:
    assert await session.ask("!say one two three") == "one two three"
    assert "".join(session.turns[0].said).split() == ["one", "two", "three"]
    assert len(session.turns[0].said) == 3


async def test_several_calls_of_one_answer_are_answered_in_one_request(
    session: Session, model: ScriptedModel
) -> None:
    ran: list[object] = []

    def note(arguments: Mapping[str, object]) -> Result:
        ran.append(arguments["command"])
        return Result(text=f"ran {len(ran)}")

    session.tools = tool("shell", note)
    assert await session.ask("!say now\n!shells a ;; b ;; c\n!say done") == "now\n\ndone"
    assert ran == ["a", "b", "c"]
    assert len(model.requests) == 2
    assert [f"ran {number}" in json.dumps(model.requests[1].body) for number in (1, 2, 3)] == [
        True,
        True,
        True,
    ]


async def test_thoughts_are_kept_for_the_vendor_and_not_said(session: Session) -> None:
    session.tools = tool("shell", lambda _: Result(text="ok"))
    reply = await session.ask(
        "!think first hmm\n!shell a\n!think then hmm\n!shell b\n!say so it is"
    )
    assert reply == "so it is"
    assert await session.ask("!say next") == "next"


async def test_a_new_runner_goes_on_from_what_was_kept(session: Session) -> None:
    session.tools = tool("shell", lambda _: Result(text="ok"))
    await session.ask("the number is 7\n!think hmm\n!shell a\n!say noted")
    session.history = json.loads(json.dumps(session.outbox.history("pydantic-ai")))
    assert "the number is 7" in await session.ask("!recall")


async def test_a_follow_up_during_a_tool_goes_into_the_next_request(
    session: Session, model: ScriptedModel
) -> None:
    def interrupted(_: Mapping[str, object]) -> Result:
        session.write("!say and the second", sender="Ben")
        return Result(text="ok")

    session.tools = tool("shell", interrupted)
    assert await session.ask("!shell x\n!say the first") == "the first\nand the second"
    assert len(model.requests) == 2


async def test_stopped_in_the_middle_the_next_request_is_valid(
    session: Session, model: ScriptedModel
) -> None:
    started = asyncio.Event()

    async def standing(_arguments: Mapping[str, object], _handed: object) -> Result:
        started.set()
        await asyncio.Event().wait()
        return Result(text="")

    session.tools = {
        "shell": replace(tool("shell", lambda _: Result(text=""))["shell"], run=standing)
    }
    session.write("!shells a ;; b\n!say done")
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
        running = tasks.create_task(session.run(session.begin()))
        await started.wait()
        running.cancel()
    session.write("!say half of\n!hold")
    turn = session.begin()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
        running = tasks.create_task(session.run(turn))
        while "." not in "".join(turn.said):  # noqa: ASYNC110 - a turn rings nobody
            await asyncio.sleep(0.002)
        running.cancel()
    model.released.set()
    assert await session.ask("!say next") == "next"


async def test_at_its_limit_a_turn_ends_with_a_summary(
    session: Session, model: ScriptedModel
) -> None:
    session.tools = tool("shell", lambda _: Result(text="ok"))
    session.limit(2)
    assert await session.ask("!shell 1\n!shell 2\n!shell 3\n!say done") == "Left undone: 3. done"
    assert "The limit of this turn is reached" in json.dumps(model.requests[-1].body)
    assert await session.ask("!say next") == "next"


async def test_a_picture_is_shown_to_a_model_that_sees(
    session: Session, model: ScriptedModel
) -> None:
    with_picture(session)
    assert await session.run(session.begin()) == "nice"
    assert base64.b64encode(PNG).decode() in json.dumps(model.requests[0].body)
    assert len(json.dumps(session.history)) < 5000
    await session.ask("!say next")
    assert base64.b64encode(PNG).decode() in json.dumps(model.requests[1].body)


async def test_a_model_that_sees_nothing_is_spared_pictures(
    session: Session, vendor: Vendor, model: ScriptedModel
) -> None:
    session.launch = replace(session.launch, models=(replace(vendor.choice, sees=False),))
    with_picture(session)
    assert await session.run(session.begin()) == "nice"
    assert base64.b64encode(PNG).decode() not in json.dumps(model.requests[0].body)


def with_picture(session: Session) -> None:
    """Hand over a message that came with a picture."""
    message = session.write("!say nice")
    session.waiting = [
        replace(message, files=(File(name="dot.png", type="image/png", size=len(PNG)),))
    ]
    (session.files / message.id).mkdir()
    (session.files / message.id / "dot.png").write_bytes(PNG)


async def test_a_connection_that_breaks_off_is_made_again(session: Session) -> None:
    assert await session.ask("!say first\n!cut\n!say second") == "first\nsecond"


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_a_passing_trouble_is_waited_out(
    session: Session, model: ScriptedModel, status: int
) -> None:
    assert await session.ask(f"!fail {status} 2\n!say at last") == "at last"
    assert len(model.requests) == 3


async def test_an_unknown_model_is_said_plainly(session: Session, model: ScriptedModel) -> None:
    model.models = ["another"]
    with pytest.raises(Failed, match=r"(does not know the|has no) model '(maker/)?scripted'"):
        await session.ask("!say hello")


async def test_a_request_that_is_not_taken_is_forgotten(session: Session) -> None:
    with pytest.raises(Failed, match=r"rejected the request.*The script says 400"):
        await session.ask("poison\n!fail 400")
    assert "poison" not in await session.ask("!recall")


async def test_a_conversation_that_is_too_long_is_said_so_and_can_be_gone_on_from(
    session: Session, vendor: Vendor, model: ScriptedModel
) -> None:
    if vendor.name == "ollama":
        pytest.skip("it forgets the oldest messages silently")
    await session.ask("!say hello")
    model.context = 1000
    with pytest.raises(Failed, match="conversation is too long for the model"):
        await session.ask("word " * 400)
    assert await session.ask("!say still here") == "still here"
