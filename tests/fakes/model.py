"""ScriptedModel: a model that does what it is told, behind the wire format of chat completions.

It streams from 127.0.0.1, in the test's process or as `python -m tests.fakes.model`. Lines of the last
user message that begin with `!` are its orders, run one after the other:

    !say TEXT      stream TEXT                     !shell CMD    call the tool `shell`, then go on
    !slow SECONDS  stream dots for so long         !shells A ;; B  call it twice in one answer
    !hold          stream a dot, then stand still  !call NAME RAW  call a tool with raw arguments
    !recall        say all earlier user texts      !cut [TIMES]  drop the connection in mid-stream
    !think TEXT    stream reasoning                !fail STATUS [TIMES]  answer with this error

`!cut` happens once unless told, `!fail` always; what follows them is done the next time. Like the real
thing it is stateless (what is left of a message is worked out from the conversation), wants its key,
and answers 400 when a tool call lacks its result or messages come in an order that is not allowed.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h11

Json = dict[str, Any]

KEY = "sk-scripted-model-key"
MODEL = "scripted"
FOREVER = 10**9

PHRASES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}


class HungUp(Exception):
    """The client left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json

    @property
    def messages(self) -> list[Json]:
        return self.body["messages"]

    @property
    def user_texts(self) -> list[str]:
        return [_text(message) for message in self.messages if message["role"] == "user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    name: str
    rest: str


class ScriptedModel:
    """An async context manager; `url` is the base that an owner would set."""

    def __init__(
        self,
        *,
        key: str | None = KEY,
        models: Sequence[str] = (MODEL,),
        script: str = "",
        port: int = 0,
        record: Path | None = None,
    ) -> None:
        self.key = key
        """None for a server that wants no key, and objects to one."""
        self.models = list(models)
        self.requests: list[Received] = []
        self.hung_up = 0
        """Clients that left before their answer was whole."""
        self.released = asyncio.Event()
        """What `!hold` waits for."""
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
        return f"http://127.0.0.1:{self.port}/v1"

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
                self.requests.append(received)
                self._write_down(received)
                await self._tell()
                await self._answer(peer, received)
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

    async def _answer(self, peer: "Peer", received: Received) -> None:
        wanted = f"Bearer {self.key}" if self.key is not None else None
        if (given := received.headers.get("authorization")) != wanted:
            # The real one quotes what it was given, too.
            await self._error(peer, 401, "invalid_api_key", f"Incorrect API key provided: {given}.")
            return
        match received.method, received.path:
            case "GET", "/v1/models":
                data = [{"id": name, "object": "model"} for name in self.models]
                await peer.answer(200, {"object": "list", "data": data}, self.headers)
            case "POST", "/v1/chat/completions":
                await self._complete(peer, received.body)
            case _:
                await self._error(peer, 404, "unknown_url", f"Unknown URL {received.path}.")

    async def _complete(self, peer: "Peer", body: Json) -> None:
        if body.get("model") not in self.models:
            message = f"The model `{body.get('model')}` does not exist."
            await self._error(peer, 404, "model_not_found", message)
            return
        if problem := objection(body):
            await self._error(peer, 400, None, problem)
            return
        orders = self._outstanding(body["messages"])
        if orders and orders[0].name == "fail" and self._mishap(orders[0], always=True):
            status = int(orders[0].rest.split()[0])
            await self._error(peer, status, None, f"The script says {status}.")
            return
        await self._stream(peer, body, orders)

    def _mishap(self, order: Order, *, always: bool) -> bool:
        """Whether this mishap happens this time."""
        numbers = [int(word) for word in order.rest.split()]
        times = numbers[-1:] if order.name == "cut" else numbers[1:]
        self._mishaps[repr(order)] += 1
        return self._mishaps[repr(order)] <= (times[0] if times else FOREVER if always else 1)

    def _outstanding(self, messages: list[Json]) -> list[Order]:
        """What is left to do, worked out from who said what so far."""
        queue: list[Order] = []
        before = ""
        for message in messages:
            if message["role"] == "user":
                left = queue if before == "tool" else []
                queue = [*left, *_orders(_text(message))] or self._default(_text(message))
            elif message["role"] == "assistant" and message.get("tool_calls"):
                queue = _after_call(queue)
            elif message["role"] == "assistant" or "turn was stopped" in _text(message):
                queue = []
            before = message["role"]
        return queue

    def _default(self, text: str) -> list[Order]:
        return list(_orders(self._script)) or [Order(name="say", rest=f"You wrote: {_plain(text)}")]

    async def _stream(self, peer: "Peer", body: Json, orders: list[Order]) -> None:
        say = Chunks(peer, body["model"], f"chatcmpl-{next(self._ids)}")
        await say.begin([*self.headers, ("x-request-id", f"req-{next(self._ids)}")])
        calls: list[tuple[str, str]] = []
        for order in orders:
            if order.name in CALLS:
                if _list(body, "tools"):
                    calls = _calls(order)
                    break
                await say.text(f"Left undone: {order.rest}. ")
            else:
                await self._obey(order, say, body["messages"])
        for index, (name, arguments) in enumerate(calls):
            await say.call(index, f"call_{next(self._ids)}", name, arguments)
        await say.end("tool_calls" if calls else "stop", body)

    async def _obey(self, order: Order, say: "Chunks", messages: list[Json]) -> None:
        match order.name:
            case "say":
                await say.text(order.rest + "\n")
            case "think":
                await say.reasoning(order.rest)
            case "recall":
                texts = [_plain(_text(m)) for m in messages if m["role"] == "user"]
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

    async def _error(self, peer: "Peer", status: int, code: str | None, message: str) -> None:
        kind = PHRASES.get(status, "server_error")
        error = {"message": message, "type": kind, "param": None, "code": code}
        headers = [("retry-after", self.retry_after)] if self.retry_after else []
        await peer.answer(status, {"error": error}, [*self.headers, *headers])


CALLS = ("shell", "shells", "call")


def _orders(text: str) -> Iterator[Order]:
    for line in text.splitlines():
        if line.strip().startswith("!"):
            name, _, rest = line.strip()[1:].partition(" ")
            yield Order(name=name, rest=rest.strip())


def _calls(order: Order) -> list[tuple[str, str]]:
    """Tool name and arguments, as JSON or as whatever the script wants them to be."""
    if order.name == "call":
        name, _, raw = order.rest.partition(" ")
        return [(name, raw)]
    commands = order.rest.split(" ;; ") if order.name == "shells" else [order.rest]
    return [("shell", json.dumps({"command": command})) for command in commands]


def _after_call(queue: list[Order]) -> list[Order]:
    for index, order in enumerate(queue):
        if order.name in CALLS:
            return queue[index + 1 :]
    return []


def _list(holder: Json, name: str) -> list[Json]:
    return holder.get(name) or []


def _text(message: Json) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _plain(text: str) -> str:
    """Without the lines that only frame what people wrote."""
    return "\n".join(line for line in text.splitlines() if not re.fullmatch(r"\s*<.*>\s*", line))


def objection(body: Json) -> str | None:
    """What the real API would say of these messages, if it would not take them."""
    messages: list[Json] = body.get("messages") or []
    if not body.get("stream"):
        return "The scripted model only streams."
    if not messages:
        return "Invalid 'messages': empty array."
    waiting: list[str] = []
    for index, message in enumerate(messages):
        role = message.get("role")
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            return (
                "An assistant message with 'tool_calls' must be followed by tool messages responding to"
                f" each 'tool_call_id'. These had no response: {', '.join(waiting)}"
            )
        if role == "assistant":
            waiting = [call["id"] for call in _list(message, "tool_calls")]
        if problem := _objection_to(message, index):
            return problem
    return f"These calls had no response: {', '.join(waiting)}" if waiting else None


def _objection_to(message: Json, index: int) -> str | None:
    match message.get("role"):
        case "system" | "developer":
            return None
        case "user" if _text(message).strip():
            return None
        case "assistant" if _text(message) or message.get("tool_calls"):
            for call in _list(message, "tool_calls"):
                with contextlib.suppress(ValueError):
                    json.loads(call["function"]["arguments"])
                    continue
                return f"Invalid 'messages[{index}]': arguments are no JSON."
            return None
        case role:
            return f"Invalid value for 'messages[{index}]' of role {role!r}."


class Chunks:
    """One answer as a stream of `chat.completion.chunk`."""

    def __init__(self, peer: "Peer", model: str, ident: str) -> None:
        self.peer = peer
        self._model = model
        self._id = ident
        self._words = 0

    async def begin(self, headers: list[tuple[str, str]]) -> None:
        await self.peer.begin(200, [("content-type", "text/event-stream; charset=utf-8"), *headers])
        await self._choice({"role": "assistant", "content": "", "refusal": None})

    async def text(self, text: str) -> None:
        for word in re.findall(r"\s*\S+\s*|\s+", text):
            self._words += 1
            await self._choice({"content": word})

    async def reasoning(self, text: str) -> None:
        await self._choice({"reasoning_content": text})

    async def call(self, index: int, ident: str, name: str, arguments: str) -> None:
        head = {"name": name, "arguments": ""}
        whole = {"index": index, "id": ident, "type": "function", "function": head}
        await self._choice({"tool_calls": [whole]})
        for start in range(0, len(arguments), 7):
            piece = {"index": index, "function": {"arguments": arguments[start : start + 7]}}
            await self._choice({"tool_calls": [piece]})

    async def end(self, reason: str, body: Json) -> None:
        await self._choice({}, finish_reason=reason)
        asked = sum(len(_text(message).split()) for message in body["messages"])
        options: Json = body.get("stream_options") or {}
        if options.get("include_usage"):
            usage = {
                "prompt_tokens": asked,
                "completion_tokens": self._words,
                "total_tokens": asked + self._words,
            }
            await self._event(self._chunk([], usage))
        await self.peer.send(b"data: [DONE]\n\n")
        await self.peer.end()

    async def _choice(self, delta: Json, *, finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        await self._event(self._chunk([choice], None))

    def _chunk(self, choices: list[Json], usage: Json | None) -> Json:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self._model,
            "system_fingerprint": "fp_scripted",
            "choices": choices,
            "usage": usage,
        }

    async def _event(self, chunk: Json) -> None:
        await self.peer.send(b"data: " + json.dumps(chunk).encode() + b"\n\n")


class Peer:
    """A client's connection, which it may keep for further requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._conn = h11.Connection(h11.SERVER)

    async def request(self) -> Received | None:
        head = await self._event()
        if not isinstance(head, h11.Request):
            return None
        body = b""
        while isinstance(event := await self._event(), h11.Data):
            body += bytes(event.data)
        return Received(
            method=head.method.decode(),
            path=head.target.decode(),
            headers={name.decode(): value.decode() for name, value in head.headers},
            body=json.loads(body) if body else {},
        )

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._conn.next_event()) is h11.NEED_DATA:
            self._conn.receive_data(await self._reader.read(65536))
        return event

    async def answer(self, status: int, body: Json, headers: list[tuple[str, str]]) -> None:
        await self.begin(status, [("content-type", "application/json"), *headers])
        await self.send(json.dumps(body).encode())
        await self.end()

    async def begin(self, status: int, headers: list[tuple[str, str]]) -> None:
        await self._send(h11.Response(status_code=status, headers=headers))

    async def send(self, data: bytes) -> None:
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    def stays(self) -> bool:
        """Whether the client may send another request, and ready for it if so."""
        stays = self._conn.our_state is self._conn.their_state is h11.DONE
        if stays:
            self._conn.start_next_cycle()
        return stays

    async def pause(self, seconds: float) -> None:
        """Wait; raises `HungUp` as soon as the client has left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reader.read(1)
                raise HungUp

    async def stand_still(self, released: asyncio.Event) -> None:
        while not released.is_set():
            await self.pause(0.02)

    async def _send(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        self._writer.write(self._conn.send(event) or b"")
        await self._writer.drain()


@contextlib.asynccontextmanager
async def serving(port_file: Path, **options: Any) -> AsyncGenerator[ScriptedModel]:
    """The model with its port written to a file, whole or not at all."""
    async with ScriptedModel(**options) as model:
        aside = port_file.with_suffix(".new")
        aside.write_text(str(model.port), encoding="utf-8")
        aside.rename(port_file)
        yield model


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.model", description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True, help="gets the port it listens on")
    parser.add_argument("--port", type=int, default=0, help="a fixed port")
    parser.add_argument("--script", default="", help="orders for messages that hold none")
    parser.add_argument("--key", default=KEY, help="the only key it takes; empty for none at all")
    parser.add_argument("--record", type=Path, help="every request, one JSON object a line")
    options = parser.parse_args()
    async with serving(
        options.port_file,
        port=options.port,
        script=options.script.replace("\\n", os.linesep),
        key=options.key or None,
        record=options.record,
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
