"""ScriptedModel: a model that does what it is told, behind the wire formats of vendors.

It streams from 127.0.0.1, in the test's process or as `python -m tests.fakes.model`. Lines of the last
user message that begin with `!` are its orders, run one after the other:

    !say TEXT      stream TEXT                     !shell CMD    call the tool `shell`, then go on
    !slow SECONDS  stream dots for so long         !shells A ;; B  call it twice in one answer
    !hold          stream a dot, then stand still  !call NAME RAW  call a tool with raw arguments
    !recall        say all earlier user texts      !cut [TIMES]  drop the connection in mid-stream
    !think TEXT    stream reasoning                !fail STATUS [TIMES]  answer with this error

What is put to it as a <conversation> it sums up: it says each line of it that begins with `fact:`. With a
`context` it refuses requests of more characters, as the real thing does.

`!cut` happens once unless told, `!fail` always; what follows them is done the next time. Like the real
thing it is stateless (what is left of a message is worked out from the conversation), wants its key,
and answers 400 when a tool call lacks its result or messages come in an order that is not allowed.
"""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.fakes.model.anthropic import Anthropic
from tests.fakes.model.chat import Chat
from tests.fakes.model.google import Google
from tests.fakes.model.ollama import Ollama
from tests.fakes.model.peer import HungUp, Peer, Received
from tests.fakes.model.responses import Responses
from tests.fakes.model.script import CALLS, Answer, Order, Said, Wire, calls, outstanding, plain

KEY = "sk-scripted-model-key"
MODEL = "scripted"
FOREVER = 10**9

WIRES: dict[str, Wire] = {
    "chat": Chat(),
    "responses": Responses(),
    "ollama": Ollama(),
    "google": Google(),
    "anthropic": Anthropic(),
}


class ScriptedModel:
    """An async context manager; `url` is the base that an owner would set."""

    def __init__(
        self,
        *,
        wire: str = "chat",
        key: str | None = KEY,
        models: Sequence[str] = (MODEL,),
        script: str = "",
        port: int = 0,
        record: Path | None = None,
        context: int = FOREVER,
    ) -> None:
        self.wire = WIRES[wire]
        self.key = key if wire != "ollama" else None
        """None for a server that wants no key, and objects to one."""
        self.models = list(models)
        self.context = context
        """Characters of messages that a request may hold."""
        self.sums_up: Literal["facts", "nothing", "never"] = "facts"
        """What it says of a <conversation>."""
        self.requests: list[Received] = []
        self.hung_up = 0
        """Clients that left before their answer was whole."""
        self.released = asyncio.Event()
        """What `!hold` waits for."""
        self.refuses = 0
        """The status of every answer, until it is 0 again."""
        self.retry_after = ""
        self.headers: list[tuple[str, str]] = []
        """Sent with every answer, beside its own."""
        self._script = script
        self._port = port
        self._record = record
        self._mishaps = Counter[str]()
        self._ids = itertools.count(1)
        self._news = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.wire.base}"

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.sockets[0].getsockname()[1]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def received(self, count: int) -> Received:
        """Wait until so many requests have come in, and return the last of them."""
        await self._until(lambda: len(self.requests) >= count)
        return self.requests[count - 1]

    async def left(self, count: int) -> None:
        """Wait until so many clients have hung up on an answer."""
        await self._until(lambda: self.hung_up >= count)

    async def _until(self, true: Any) -> None:
        async with self._news, asyncio.timeout(10):
            await self._news.wait_for(true)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        peer = Peer(reader, writer)
        try:
            while (received := await peer.request()) is not None:
                await self.answer(peer, received)
                if not peer.stays():
                    break
        except (HungUp, OSError):
            self.hung_up += 1
            await self._tell()
        except asyncio.CancelledError:
            pass  # the server ends
        else:
            writer.close()
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    def _write_down(self, received: Received) -> None:
        if self._record is not None:
            entry = {"path": received.path, "headers": received.headers, "body": received.body}
            with self._record.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    async def answer(self, peer: Peer, received: Received) -> None:
        self.requests.append(received)
        self._write_down(received)
        await self._tell()
        if (given := self.wire.key(received.headers)) != self.key:
            # The real one quotes what it was given, too.
            await self._error(peer, 401, "invalid_api_key", f"Incorrect API key provided: {given}.")
        elif received.method == "GET" and received.path == self.wire.models:
            await peer.answer(200, self.wire.listed(self.models), self.headers)
        elif received.method == "POST" and self.wire.asks(received.path):
            await self._complete(peer, received)
        else:
            await self._error(peer, 404, "unknown_url", f"Unknown URL {received.path}.")

    async def _complete(self, peer: Peer, received: Received) -> None:
        if (name := self.wire.model(received)) not in self.models:
            await self._error(peer, *self.wire.unknown(name))
            return
        if self.refuses:
            words = f"The script says {self.refuses}."
            await self._error(peer, self.refuses, None, words)
            return
        if problem := self.wire.objection(received):
            await self._error(peer, 400, None, problem)
            return
        said = self.wire.said(received.body)
        length = sum(len(one.text) for one in said)
        if length > self.context and (no := self.wire.overflow(length, self.context)):
            await self._error(peer, *no)
            return
        orders = self._orders(said)
        if orders and orders[0].name == "fail" and self._mishap(orders[0], always=True):
            status = int(orders[0].rest.split()[0])
            await self._error(peer, status, None, f"The script says {status}.")
            return
        await self._stream(peer, received, said, orders)

    def _orders(self, said: list[Said]) -> list[Order]:
        if said[-1].text.startswith("<conversation>"):
            match self.sums_up:
                case "nothing":
                    return []
                case "never":
                    return [Order(name="hold", rest="")]
                case "facts":
                    pass  # what a script says as well
        return outstanding(said, self._script)

    def _mishap(self, order: Order, *, always: bool) -> bool:
        """Whether this mishap happens this time."""
        numbers = [int(word) for word in order.rest.split()]
        times = numbers[-1:] if order.name == "cut" else numbers[1:]
        self._mishaps[repr(order)] += 1
        return self._mishaps[repr(order)] <= (times[0] if times else FOREVER if always else 1)

    async def _stream(
        self, peer: Peer, received: Received, said: list[Said], orders: list[Order]
    ) -> None:
        say = self.wire.answer(peer, received, next(self._ids))
        await say.begin([*self.headers, ("x-request-id", f"req-{next(self._ids)}")])
        called: list[tuple[str, str]] = []
        for order in orders:
            if order.name in CALLS:
                if self.wire.has_tools(received.body):
                    called = calls(order)
                    break
                await say.text(f"Left undone: {order.rest}. ")
            else:
                await self._obey(order, say, said)
        for index, (name, arguments) in enumerate(called):
            await say.call(index, f"call_{next(self._ids)}", name, arguments)
        await say.end(called=bool(called))

    async def _obey(self, order: Order, say: Answer, said: list[Said]) -> None:
        match order.name:
            case "say":
                await say.text(order.rest + "\n")
            case "think":
                await say.reasoning(order.rest)
            case "recall":
                texts = [plain(one.text) for one in said if one.by == "person"]
                await say.text("\n".join(texts[:-1]) + "\n")
            case "slow":
                steps = max(1, round(float(order.rest or 1) / 0.1))
                for _ in range(steps):
                    await say.text(".")
                    await say.peer.pause(float(order.rest or 1) / steps)
            case "hold":
                await say.text(".")
                await say.peer.stand_still(self.released)
            case "cut":
                if self._mishap(order, always=False):
                    await say.text("This sentence will not be")
                    raise ConnectionAbortedError
            case "fail":
                self._mishap(order, always=True)
            case _:
                await say.text(f"The scripted model knows no order !{order.name}.\n")

    async def _error(self, peer: Peer, status: int, code: str | None, message: str) -> None:
        headers = [("retry-after", self.retry_after)] if self.retry_after else []
        body = self.wire.error(status, code, message)
        await peer.answer(status, body, [*self.headers, *headers])
