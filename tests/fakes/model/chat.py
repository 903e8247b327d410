"""OpenAI's chat completions."""

import contextlib
import json
import time
from typing import Any

from tests.fakes.model.peer import Peer, Received, text
from tests.fakes.model.script import Answer, Json, Said, words

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}


class Chat:
    base = "/v1"
    models = "/v1/models"

    def asks(self, path: str) -> bool:
        return path == "/v1/chat/completions"

    def key(self, headers: dict[str, str]) -> str | None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        return key if scheme == "Bearer" else None

    def model(self, received: Received) -> str:
        return received.body.get("model", "")

    def listed(self, models: list[str]) -> Json:
        return {"object": "list", "data": [{"id": name, "object": "model"} for name in models]}

    def has_tools(self, body: Json) -> bool:
        return bool(body.get("tools"))

    def said(self, body: Json) -> list[Said]:
        return [_said(message) for message in body["messages"] if message["role"] not in SYSTEM]

    def objection(self, received: Received) -> str | None:
        return objection(received.body)

    def unknown(self, model: str) -> tuple[int, str | None, str]:
        return 404, "model_not_found", f"The model `{model}` does not exist."

    def overflow(self, tokens: int, window: int) -> tuple[int, str | None, str] | None:
        words = (
            f"This model's maximum context length is {window} tokens. However, your messages resulted"
            f" in {tokens} tokens. Please reduce the length of the messages."
        )
        return 400, "context_length_exceeded", words

    def error(self, status: int, code: str | None, message: str) -> Json:
        kind = KINDS.get(status, "server_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def answer(self, peer: Peer, received: Received, ident: int) -> Answer:
        return Chunks(peer, received.body, f"chatcmpl-{ident}")


SYSTEM = ("system", "developer")


def _said(message: Json) -> Said:
    match message:
        case {"role": "user"}:
            return Said(by="person", text=text(message))
        case {"role": "tool"}:
            return Said(by="tools", text=text(message))
        case _:
            return Said(by="model", text=text(message), called=bool(message.get("tool_calls")))


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
        case "user" if text(message).strip():
            return None
        case "assistant" if text(message) or message.get("tool_calls"):
            for call in _list(message, "tool_calls"):
                with contextlib.suppress(ValueError):
                    json.loads(call["function"]["arguments"])
                    continue
                return f"Invalid 'messages[{index}]': arguments are no JSON."
            return None
        case role:
            return f"Invalid value for 'messages[{index}]' of role {role!r}."


def _list(holder: Json, name: str) -> list[Any]:
    return holder.get(name) or []


class Chunks:
    """One answer as a stream of `chat.completion.chunk`."""

    def __init__(self, peer: Peer, body: Json, ident: str) -> None:
        self.peer = peer
        self._body = body
        self._id = ident
        self._words = 0

    async def begin(self, headers: list[tuple[str, str]]) -> None:
        await self.peer.begin(200, [("content-type", "text/event-stream; charset=utf-8"), *headers])
        await self._choice({"role": "assistant", "content": "", "refusal": None})

    async def text(self, text: str) -> None:
        for word in words(text):
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

    async def end(self, *, called: bool) -> None:
        await self._choice({}, finish_reason="tool_calls" if called else "stop")
        asked = sum(len(text(message)) for message in self._body["messages"]) // 4
        options: Json = self._body.get("stream_options") or {}
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
            "model": self._body["model"],
            "system_fingerprint": "fp_scripted",
            "choices": choices,
            "usage": usage,
        }

    async def _event(self, chunk: Json) -> None:
        await self.peer.send(b"data: " + json.dumps(chunk).encode() + b"\n\n")
