"""What the gateway adds to the first byte of a model's answer."""

import asyncio
import json
import statistics
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.bench import gate
from tests.bench.finding import Finding, Goal, Measure, Pace
from tests.bench.house import Yard
from tests.fakes.model import KEY, MODEL

Opener = Callable[[], Awaitable[tuple[StreamReader, StreamWriter]]]
BODY = json.dumps(
    {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "!say hello"}]}
).encode()


async def gateway(yard: Yard, pace: Pace) -> AsyncIterator[Finding]:
    place = yard.home()
    async with AsyncExitStack() as stack:
        port_file, socket = place / "port", place / "gateway"
        await stack.enter_async_context(
            program("tests.fakes.model", "--port-file", str(port_file), shows=port_file)
        )
        port = int(port_file.read_text(encoding="utf-8"))
        await stack.enter_async_context(
            program(gate.__name__, str(socket), str(port), shows=socket)
        )

        direct, through = Request("/v1", KEY), Request("/openai", gate.TOKEN)
        plain: list[float] = []
        behind: list[float] = []
        for _ in range(pace.often(150, 2000)):
            # In turns, so that both meet the same noise.
            plain.append(
                await direct.first_byte(lambda: asyncio.open_connection("127.0.0.1", port))
            )
            behind.append(await through.first_byte(lambda: asyncio.open_unix_connection(socket)))
    floor = statistics.median(plain)
    yield Finding(
        what="first byte added by the gateway",
        unit="ms",
        values=[value - floor for value in behind],
        goal=Goal(median=1),
        note=f"beyond the {floor:.2g} ms that the scripted model takes by itself",
    )


class Request:
    """One streamed request to a model."""

    def __init__(self, base: str, key: str) -> None:
        authorization = f"authorization: Bearer {key}\r\n" if key else ""
        self._head = (
            f"POST {base}/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n{authorization}"
            f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\nconnection: close\r\n\r\n"
        ).encode()

    async def first_byte(self, open_: Opener) -> float:
        """Milliseconds from the sent request to the first byte of its answer."""
        reader, writer = await open_()
        began = time.perf_counter()
        writer.write(self._head + BODY)
        first = await reader.read(65536)
        milliseconds = (time.perf_counter() - began) * 1000
        if b" 200 " not in first[:20]:
            raise RuntimeError(f"the model was not reached: {first!r}")
        await reader.read()
        writer.close()
        return milliseconds


@asynccontextmanager
async def program(module: str, *arguments: str, shows: Path) -> AsyncGenerator[None]:
    """A Python program of ours that is ready once a file shows."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments)
    try:
        async with asyncio.timeout(30):
            while not shows.exists():  # noqa: ASYNC110, ASYNC240  nothing else tells
                await asyncio.sleep(0.02)
        yield
    finally:
        process.terminate()
        await process.wait()


MEASURE = Measure(place=4, title="latency of the gateway", run=gateway)
