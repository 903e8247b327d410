"""OpenAI's responses, by somebody who asks for nothing to be kept.

What was thought is given sealed, and has to come back as it was given, before what followed it.
"""

from typing import Any

from tests.fakes.model.chat import Chat
from tests.fakes.model.events import EVENT_STREAM, event
from tests.fakes.model.peer import Peer, Received
from tests.fakes.model.script import Answer, Json, Said, words


class Responses(Chat):
    def asks(self, path: str) -> bool:
        return path == "/v1/responses"

    def said(self, body: Json) -> list[Said]:
        found: list[Said] = []
        for item in items(body):
            one = _said(item)
            if one is None:
                continue
            if found and found[-1].by == one.by == "model":
                # One answer has its words and its calls as items of their own.
                before = found.pop()
                one = Said(
                    by="model", text=before.text + one.text, called=before.called or one.called
                )
            found.append(one)
        return found

    def objection(self, received: Received) -> str | None:
        return objection(received.body)

    def overflow(self, tokens: int, window: int) -> tuple[int, str | None, str]:  # noqa: ARG002 - it tells no numbers
        words = "Your input exceeds the context window of this model. Please adjust your input and try again."
        return 400, "context_length_exceeded", words

    def answer(self, peer: Peer, received: Received, ident: int) -> Answer:
        return Events(peer, received.body, ident)


def _text(item: Json) -> str:
    content = item.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _said(item: Json) -> Said | None:
    match item:
        case {"type": "reasoning"} | {"role": "system" | "developer"}:
            return None
        case {"type": "function_call"}:
            return Said(by="model", text="", called=True)
        case {"type": "function_call_output", "output": output}:
            return Said(by="tools", text=str(output))
        case {"role": "user"}:
            return Said(by="person", text=_text(item))
        case _:
            return Said(by="model", text=_text(item))


def items(body: Json) -> list[Json]:
    """What is asked; a text alone is a person's."""
    given: str | list[Json] = body.get("input") or []
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def seal(ident: str) -> str:
    return f"sealed:{ident}"


def objection(body: Json) -> str | None:
    found = items(body)
    if not body.get("stream"):
        return "The scripted model only streams."
    if body.get("store") is not False:
        return "The scripted model keeps nothing: 'store' must be false."
    if not found:
        return "Missing required parameter: 'input'."
    waiting: list[str] = []
    for index, item in enumerate(found):
        match item:
            case {"type": "function_call_output", "call_id": call}:
                if call not in waiting:
                    return f"No tool call found for function call output with call_id {call}."
                waiting.remove(call)
                continue
            case {"type": "function_call", "call_id": call}:
                waiting.append(call)
            case {"type": "reasoning"}:
                if problem := _objection_to_thought(item, found[index + 1 : index + 2]):
                    return problem
            case {"role": "user"} if waiting:
                break
            case _:
                pass
    return f"No tool output found for function call {waiting[0]}." if waiting else None


def _objection_to_thought(item: Json, then: list[Json]) -> str | None:
    ident = item.get("id", "")
    if item.get("encrypted_content") != seal(ident):
        return (
            f"Item with id '{ident}' not found. Items are not persisted when `store` is set to false."
            " Try again with `store` set to true, or remove this item from your input."
        )
    if not then or not (
        then[0].get("type") == "function_call" or then[0].get("role") == "assistant"
    ):
        return (
            f"Item '{ident}' of type 'reasoning' was provided without its required following item."
        )
    return None


class Events:
    """One answer as a stream of `response.*`."""

    def __init__(self, peer: Peer, body: Json, ident: int) -> None:
        self.peer = peer
        self._body = body
        self._id = ident
        self._number = 0
        self._items: list[Json] = []
        self._text: Json | None = None
        self._words = 0

    async def begin(self, headers: list[tuple[str, str]]) -> None:
        await self.peer.begin(200, [EVENT_STREAM, *headers])
        await self._event("response.created", response=self._response("in_progress"))

    async def text(self, text: str) -> None:
        if self._text is None:
            item: Json = {
                "id": f"msg_{self._id}_{len(self._items)}",
                "type": "message",
                "role": "assistant",
                "status": "in_progress",
                "content": [],
            }
            self._text = item
            await self._event(
                "response.output_item.added", output_index=len(self._items), item=dict(item)
            )
            await self._event("response.content_part.added", **self._place(), part=_part(""))
            item["content"] = [_part("")]
        for word in words(text):
            self._words += 1
            self._text["content"][0]["text"] += word
            await self._event(
                "response.output_text.delta", **self._place(), delta=word, logprobs=[]
            )

    async def reasoning(self, text: str) -> None:
        await self._finish_text()
        ident = f"rs_{self._id}_{len(self._items)}"
        summary = [{"type": "summary_text", "text": text}]
        item = {"id": ident, "type": "reasoning", "summary": summary}
        await self._whole({**item, "summary": []}, {**item, "encrypted_content": seal(ident)})

    async def call(self, index: int, ident: str, name: str, arguments: str) -> None:
        await self._finish_text()
        item = {
            "id": f"fc_{self._id}_{index}",
            "type": "function_call",
            "call_id": ident,
            "name": name,
            "status": "completed",
        }
        place = {"output_index": len(self._items), "item_id": item["id"]}
        started = {**item, "arguments": "", "status": "in_progress"}
        await self._event("response.output_item.added", output_index=len(self._items), item=started)
        for start in range(0, len(arguments), 7):
            piece = arguments[start : start + 7]
            await self._event("response.function_call_arguments.delta", **place, delta=piece)
        whole = {**item, "arguments": arguments}
        await self._event(
            "response.function_call_arguments.done", **place, name=name, arguments=arguments
        )
        await self._done(whole)

    async def end(self, *, called: bool) -> None:  # noqa: ARG002 - the items tell
        await self._finish_text()
        await self._event("response.completed", response=self._response("completed"))
        await self.peer.end()

    async def _finish_text(self) -> None:
        if (item := self._text) is None:
            return
        self._text = None
        [part] = item["content"]
        place = {"item_id": item["id"], "output_index": len(self._items), "content_index": 0}
        await self._event("response.output_text.done", **place, text=part["text"], logprobs=[])
        await self._event("response.content_part.done", **place, part=part)
        await self._done({**item, "status": "completed"})

    async def _whole(self, started: Json, item: Json) -> None:
        await self._event("response.output_item.added", output_index=len(self._items), item=started)
        await self._done(item)

    async def _done(self, item: Json) -> None:
        await self._event("response.output_item.done", output_index=len(self._items), item=item)
        self._items.append(item)

    def _place(self) -> Json:
        assert self._text is not None
        return {"item_id": self._text["id"], "output_index": len(self._items), "content_index": 0}

    def _response(self, status: str) -> Json:
        usage = {
            "input_tokens": len(str(self._body["input"])) // 4,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self._words,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": len(str(self._body["input"])) // 4 + self._words,
        }
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": 1790000000,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "model": self._body["model"],
            "output": self._items if status == "completed" else [],
            "parallel_tool_calls": True,
            "store": False,
            "tool_choice": "auto",
            "tools": [],
            "metadata": {},
            "usage": usage if status == "completed" else None,
        }

    async def _event(self, kind: str, **body: Any) -> None:
        await event(self.peer, kind, {"type": kind, "sequence_number": self._number, **body})
        self._number += 1


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
