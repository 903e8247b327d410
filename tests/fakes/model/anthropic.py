"""Anthropic's messages. What was thought is signed, and has to come back as it was given."""

from collections.abc import Sequence
from typing import Any

from tests.fakes.model.events import EVENT_STREAM, event
from tests.fakes.model.peer import Peer, Received
from tests.fakes.model.script import Answer, Json, Said, words

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
MOST_CACHED = 4


class Anthropic:
    base = ""
    models = "/v1/models"

    def asks(self, path: str) -> bool:
        return path == "/v1/messages"

    def key(self, headers: dict[str, str]) -> str | None:
        return headers.get("x-api-key")

    def model(self, received: Received) -> str:
        return received.body.get("model", "")

    def listed(self, models: list[str]) -> Json:
        return {"data": [{"id": name, "type": "model"} for name in models], "has_more": False}

    def has_tools(self, body: Json) -> bool:
        return bool(body.get("tools")) and body.get("tool_choice") != {"type": "none"}

    def said(self, body: Json) -> list[Said]:
        return [one for message in body["messages"] for one in _said(message)]

    def objection(self, received: Received) -> str | None:
        if "anthropic-version" not in received.headers:
            return "anthropic-version: header is required"
        return objection(received.body)

    def unknown(self, model: str) -> tuple[int, str | None, str]:
        return 404, None, f"model: {model}"

    def overflow(self, tokens: int, window: int) -> tuple[int, str | None, str]:
        return 400, None, f"prompt is too long: {tokens} tokens > {window} maximum"

    def error(self, status: int, code: str | None, message: str) -> Json:  # noqa: ARG002 - it has none
        error = {"type": KINDS.get(status, "api_error"), "message": message}
        return {"type": "error", "error": error, "request_id": "req_scripted"}

    def answer(self, peer: Peer, received: Received, ident: int) -> Answer:
        return Events(peer, received.body, ident)


def _said(message: Json) -> list[Said]:
    content = _blocks(message)
    if message["role"] == "assistant":
        called = any(block["type"] == "tool_use" for block in content)
        return [Said(by="model", text=_text(content), called=called)]
    results = [block["content"] for block in content if block["type"] == "tool_result"]
    found = [Said(by="tools", text="\n".join(results))] if results else []
    return [*found, Said(by="person", text=text)] if (text := _text(content)) else found


def _blocks(message: Json) -> list[Json]:
    """A text alone is one block."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(content: Sequence[Json]) -> str:
    return "".join(block["text"] for block in content if block["type"] == "text")


def sign(text: str) -> str:
    return f"signed:{len(text)}"


def objection(body: Json) -> str | None:
    messages: list[Json] = body.get("messages") or []
    if not body.get("stream"):
        return "The scripted model only streams."
    if not body.get("max_tokens"):
        return "max_tokens: Field required"
    if not messages:
        return "messages: at least one message is required"
    if messages[0]["role"] != "user":
        return 'messages: first message must use the "user" role'
    if (cached := str(body).count("cache_control")) > MOST_CACHED:
        return f"A maximum of 4 blocks with cache_control may be provided. Found {cached}."
    if "tool_use" in str(messages) and not body.get("tools"):
        return "Requests which have `tool_use` or `tool_result` blocks in their history must define any tools"
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if problem := _objection_to(message, index, waiting):
            return problem
        waiting = {block["id"] for block in _blocks(message) if block["type"] == "tool_use"}
    return _unanswered(len(messages) - 1, waiting) if waiting else None


def _unanswered(index: int, waiting: set[str]) -> str:
    return (
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after:"
        f" {', '.join(sorted(waiting))}. Each `tool_use` block must have a corresponding `tool_result`"
        " block in the next message."
    )


def _objection_to(message: Json, index: int, waiting: set[str]) -> str | None:
    content = _blocks(message)
    if not content:
        return f"messages.{index}: all messages must have non-empty content"
    answered = {block["tool_use_id"] for block in content if block["type"] == "tool_result"}
    if waiting - answered:
        return _unanswered(index - 1, waiting - answered)
    if answered - waiting:
        return (
            f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks:"
            f" {', '.join(sorted(answered - waiting))}."
        )
    if answered and [block["type"] for block in content[: len(answered)]] != ["tool_result"] * len(
        answered
    ):
        return f"messages.{index}: `tool_result` blocks must come first"
    for number, block in enumerate(content):
        if block["type"] == "text" and not block["text"].strip():
            return "messages: text content blocks must contain non-whitespace text"
        if block["type"] == "thinking" and block["signature"] != sign(block["thinking"]):
            return f"messages.{index}.content.{number}: Invalid `signature` in `thinking` block"
    return None


class Events:
    """One answer as a stream of blocks."""

    def __init__(self, peer: Peer, body: Json, ident: int) -> None:
        self.peer = peer
        self._body = body
        self._id = ident
        self._index = -1
        self._kind = ""
        self._words = 0

    async def begin(self, headers: list[tuple[str, str]]) -> None:
        await self.peer.begin(200, [EVENT_STREAM, *headers])
        message: Json = {
            "id": f"msg_{self._id}",
            "type": "message",
            "role": "assistant",
            "model": self._body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": len(str(self._body["messages"])) // 4,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 3,
                "output_tokens": 1,
            },
        }
        await self._event("message_start", message=message)
        await self._event("ping")

    async def text(self, text: str) -> None:
        await self._start("text", {"type": "text", "text": ""})
        for word in words(text):
            self._words += 1
            await self._delta({"type": "text_delta", "text": word})

    async def reasoning(self, text: str) -> None:
        await self._stop()
        await self._start("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        await self._delta({"type": "thinking_delta", "thinking": text})
        await self._delta({"type": "signature_delta", "signature": sign(text)})
        await self._stop()

    async def call(self, index: int, ident: str, name: str, arguments: str) -> None:  # noqa: ARG002 - it has names of its own
        await self._stop()
        block: Json = {"type": "tool_use", "id": f"toolu_{ident}", "name": name, "input": {}}
        await self._start("tool_use", block)
        await self._delta({"type": "input_json_delta", "partial_json": ""})
        for start in range(0, len(arguments), 7):
            piece = arguments[start : start + 7]
            await self._delta({"type": "input_json_delta", "partial_json": piece})

    async def end(self, *, called: bool) -> None:
        await self._stop()
        reason = "tool_use" if called else "end_turn"
        delta = {"stop_reason": reason, "stop_sequence": None}
        await self._event("message_delta", delta=delta, usage={"output_tokens": self._words})
        await self._event("message_stop")
        await self.peer.end()

    async def _start(self, kind: str, block: Json) -> None:
        if self._kind == kind:
            return
        await self._stop()
        self._kind = kind
        self._index += 1
        await self._event("content_block_start", index=self._index, content_block=block)

    async def _delta(self, delta: Json) -> None:
        await self._event("content_block_delta", index=self._index, delta=delta)

    async def _stop(self) -> None:
        if self._kind:
            await self._event("content_block_stop", index=self._index)
        self._kind = ""

    async def _event(self, name: str, **body: Any) -> None:
        await event(self.peer, name, {"type": name, **body})
