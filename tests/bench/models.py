"""The way to a model: what the gateway adds, a warm turn, and what the provider costs to import.

python -m tests.bench.models
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from salver_runner.launch import Choice, Launch, Limits
from salver_runner.outbox import Outbox
from salver_server.clock import SystemClock
from salver_server.gateway import open_gateway, token_hash
from salver_server.ids import AgentName, SessionId
from tests.fakes.model import KEY, MODEL, ScriptedModel
from tests.fakes.upstream import FakeUpstream
from tests.runner.providers.conftest import TOKEN, Session, silent_line

ROUNDS = 300
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

COST = """
import importlib, sys, time; began = time.perf_counter()
import salver_runner.providers.pydantic_ai as provider
importlib.import_module(f'{provider.__name__}.wires.{sys.argv[1]}')
took = time.perf_counter() - began
pss = next(line for line in open('/proc/self/smaps_rollup') if line.startswith('Pss:'))
print(f'{took:.3f} {int(pss.split()[1]) / 1024:.0f}')
"""


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        async with ScriptedModel() as model, open_gateway(SystemClock()) as gateway:
            door = folder / "gateway"
            await gateway.open(
                SessionId("s"),
                door,
                agent=AgentName("house"),
                token_hash=token_hash(TOKEN),
                # As the runner calls it.
                upstreams=[FakeUpstream(url=model.url, name="openai/v1")],
            )
            await first_byte(model, door)
            await warm_turns(folder, door)
    for wire in ("chat", "responses", "google", "anthropic"):
        costs = [await asyncio.to_thread(cost_of_import, wire) for _ in range(5)]
        took, held = (statistics.median(cost[part] for cost in costs) for part in (0, 1))
        print(f"import for {wire:<13} {took * 1000:7.0f} ms, process with it {held:.0f} MB PSS")


async def first_byte(model: ScriptedModel, door: Path) -> None:
    def direct() -> Awaitable[Streams]:
        return asyncio.open_connection("127.0.0.1", model.port)

    def through() -> Awaitable[Streams]:
        return asyncio.open_unix_connection(str(door))

    plain: list[float] = []
    added: list[float] = []
    for _ in range(ROUNDS):  # taken in turns, so that both meet the same noise
        plain.append(await until_first_byte(direct, "/v1/chat/completions", KEY))
        added.append(await until_first_byte(through, "/openai/v1/chat/completions", TOKEN))
    show("first byte, direct", plain[10:])
    show("first byte, gateway", added[10:])
    difference = statistics.median(added[10:]) - statistics.median(plain[10:])
    print(f"added by the gateway     {difference * 1000:7.2f} ms  (goal: 1)")


async def until_first_byte(
    connect: Callable[[], Awaitable[Streams]], path: str, token: str
) -> float:
    message = {"role": "user", "content": "!say hello"}
    body = json.dumps({"model": MODEL, "stream": True, "messages": [message]}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    began = time.perf_counter()
    reader, writer = await connect()
    writer.write(head.encode() + body)
    first = await reader.read(65536)
    took = time.perf_counter() - began
    assert first.startswith(b"HTTP/1.1 200"), first
    while await reader.read(65536):
        pass
    writer.close()
    return took


async def warm_turns(folder: Path, door: Path) -> None:
    launch = Launch(
        session="s",
        generation=1,
        epoch=1,
        read=0,
        agent="house",
        provider="pydantic-ai",
        models=(Choice(provider="openai/v1", wire="chat", model=MODEL, window=0, sees=True),),
        instructions="You are the house agent.",
        token=TOKEN,
        limits=Limits(rounds=20, seconds=60),
        attempts={},
        failpoint="",
    )
    session = Session(
        launch=launch,
        outbox=Outbox(folder / "outbound.db", epoch=1, generation=1, read=0),
        line=silent_line(folder / "line"),
        gateway=door,
        files=folder,
    )
    show("warm turn", [await turn(session, "!say hello") for _ in range(50)][5:], goal=50)
    session.history = []
    text = "!shell true\n!say hello"
    show("warm turn with a tool", [await turn(session, text) for _ in range(30)][5:])
    session.history = []
    await session.ask("!say hello")
    session.history *= 500
    show("warm turn, 1000 earlier", [await turn(session, "!say hello") for _ in range(10)])


async def turn(session: Session, text: str) -> float:
    began = time.perf_counter()
    await session.ask(text)
    return time.perf_counter() - began


def cost_of_import(wire: str) -> tuple[float, float]:
    command = [sys.executable, "-c", COST, wire]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd="container")
    took, pss = printed.stdout.split()
    return float(took), float(pss)


def show(what: str, seconds: list[float], *, goal: int | None = None) -> None:
    ordered = sorted(seconds)
    middle, late = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    against = f"  (goal: {goal})" if goal else ""
    print(f"{what:<24} {middle * 1000:7.2f} ms, p95 {late * 1000:.2f} ms{against}")


if __name__ == "__main__":
    asyncio.run(main())
