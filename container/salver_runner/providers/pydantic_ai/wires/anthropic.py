"""Anthropic's messages."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydantic_ai.messages import (
    BinaryContent,
    FinishReason,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    ModelResponseStreamEvent,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.usage import RequestUsage

from salver_runner.launch import Choice
from salver_runner.providers.pydantic_ai.wires import Door
from salver_runner.providers.pydantic_ai.wires.stream import Answer, Format, Json, WireModel

VERSION = "2023-06-01"
LONGEST_ANSWER = 16_000
"""Tokens; the oldest models that are still served give fewer."""
LONGEST_OF_OLD = {"claude-3-5": 8192, "claude-3-": 4096}
CACHED = {"cache_control": {"type": "ephemeral"}}
"""All up to here is the same the next time, and cheap then."""

FINISHED: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_call",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


def open_model(choice: Choice, door: Door) -> Model:
    def body(messages: list[ModelMessage], parameters: ModelRequestParameters) -> Json:
        return request(choice, messages, parameters)

    headers = {"x-api-key": door.token, "anthropic-version": VERSION}
    form = Format(path="/v1/messages", headers=headers, body=body, answer=MessagesAnswer)
    return WireModel(choice, door, form)


def request(
    choice: Choice, messages: Sequence[ModelMessage], parameters: ModelRequestParameters
) -> Json:
    system = "\n\n".join(part.content for part in parameters.instruction_parts or [])
    turns = _turns(messages)
    # The latest two of the person's: the one before is where the cache of the last request ends.
    for turn in [turn for turn in turns if turn["role"] == "user"][-2:]:
        turn["content"][-1] = {**turn["content"][-1], **CACHED}
    body: Json = {
        "model": choice.model,
        "max_tokens": longest_answer(choice.model),
        "stream": True,
        "messages": turns,
    }
    if system:
        body["system"] = [{"type": "text", "text": system, **CACHED}]
    if tools := _tools(messages, parameters):
        body["tools"] = tools
        if not parameters.function_tools:
            body["tool_choice"] = {"type": "none"}
    return body


def longest_answer(model: str) -> int:
    return next(
        (most for name, most in LONGEST_OF_OLD.items() if model.startswith(name)), LONGEST_ANSWER
    )


def _tools(messages: Sequence[ModelMessage], parameters: ModelRequestParameters) -> list[Json]:
    tools = [
        {
            "name": tool.name,
            "description": tool.description or "",
            "input_schema": tool.parameters_json_schema,
        }
        for tool in parameters.function_tools
    ]
    if tools:
        return tools
    # A conversation with calls wants its tools declared, also where none may be used any more.
    used = {call.tool_name: None for one in messages for call in _calls(one)}
    return [{"name": name, "input_schema": {"type": "object"}} for name in used]


def _calls(message: ModelMessage) -> Sequence[ToolCallPart]:
    return message.tool_calls if isinstance(message, ModelResponse) else ()


def _turns(messages: Sequence[ModelMessage]) -> list[Json]:
    """Person and model by turns: neighbours of one role become one."""
    turns: list[Json] = []
    for message in messages:
        role = "user" if isinstance(message, ModelRequest) else "assistant"
        content = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += content
        elif content:
            turns.append({"role": role, "content": content})
    return turns


def _blocks(message: ModelMessage) -> list[Json]:
    if isinstance(message, ModelRequest):
        return [block for part in message.parts for block in _asked(part)]
    return [block for part in message.parts for block in _answered(part)]


def _asked(part: ModelRequestPart) -> Iterator[Json]:
    match part:
        case ToolReturnPart():
            yield {
                "type": "tool_result",
                "tool_use_id": part.tool_call_id,
                "content": part.model_response_str() or "(no output)",
            }
        case UserPromptPart(content=str(text)):
            yield {"type": "text", "text": text}
        case UserPromptPart(content=pieces):
            yield from (block for piece in pieces if (block := _piece(piece)))
        case _:
            pass


def _piece(piece: UserContent) -> Json | None:
    match piece:
        case str() if piece.strip():
            return {"type": "text", "text": piece}
        case BinaryContent():
            data = base64.b64encode(piece.data).decode()
            source = {"type": "base64", "media_type": piece.media_type, "data": data}
            return {"type": "image", "source": source}
        case _:
            return None


def _answered(part: ModelResponsePart) -> Iterator[Json]:
    match part:
        case TextPart() if part.content.strip():
            yield {"type": "text", "text": part.content}
        case ThinkingPart(id="redacted", signature=str(data)):
            yield {"type": "redacted_thinking", "data": data}
        case ThinkingPart(signature=str(signature)):
            yield {"type": "thinking", "thinking": part.content, "signature": signature}
        case ToolCallPart():
            yield {
                "type": "tool_use",
                "id": part.tool_call_id,
                "name": part.tool_name,
                "input": _arguments(part),
            }
        case _:
            pass


def _arguments(call: ToolCallPart) -> Json:
    try:
        return call.args_as_dict(raise_if_invalid=True)
    except (ValueError, AssertionError):
        return {}  # it was answered with what was wrong with it


@dataclass
class MessagesAnswer(Answer):
    blocks: dict[int, str] = field(default_factory=dict[int, str])
    """Index to the kind of block that is being given there."""
    whole: bool = False

    def read(self, event: Json) -> Iterator[ModelResponseStreamEvent]:
        match event:
            case {"type": "message_start", "message": {"id": str(name), "usage": {} as usage}}:
                self.provider_response_id = name
                self._count(usage)
            case {"type": "content_block_start", "index": int(index), "content_block": {} as block}:
                yield from self._start(index, block)
            case {"type": "content_block_delta", "index": int(index), "delta": {} as delta}:
                yield from self._delta(index, delta)
            case {"type": "message_delta", "delta": {} as delta}:
                reason = str(delta.get("stop_reason"))
                self.finish_reason = FINISHED.get(reason)
                self.provider_details = {"finish_reason": reason}
                self._count(event.get("usage") or {})
            case {"type": "message_stop"}:
                self.whole = True
            case _:
                pass  # pings, and what a later version adds

    def ended(self) -> bool:
        return self.whole

    def _start(self, index: int, block: Json) -> Iterator[ModelResponseStreamEvent]:
        match block:
            case {"type": "text", "text": str(text)}:
                yield from self._parts_manager.handle_text_delta(vendor_part_id=index, content=text)
            case {"type": "thinking"}:
                yield from self._think(index, block.get("thinking") or "", None)
            case {"type": "redacted_thinking", "data": str(data)}:
                yield from self._parts_manager.handle_thinking_delta(
                    vendor_part_id=index,
                    content="",
                    id="redacted",
                    signature=data,
                    provider_name=self.provider_name,
                )
            case {"type": "tool_use", "id": str(name), "name": str(tool)}:
                yield from self._parts_manager.handle_tool_call_delta_events(
                    vendor_part_id=index, tool_name=tool, tool_call_id=name, args=""
                )
            case _:
                pass

    def _delta(self, index: int, delta: Json) -> Iterator[ModelResponseStreamEvent]:
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                yield from self._parts_manager.handle_text_delta(vendor_part_id=index, content=text)
            case {"type": "thinking_delta", "thinking": str(text)}:
                yield from self._think(index, text, None)
            case {"type": "signature_delta", "signature": str(signature)}:
                yield from self._think(index, None, signature)
            case {"type": "input_json_delta", "partial_json": str(piece)}:
                yield from self._parts_manager.handle_tool_call_delta_events(
                    vendor_part_id=index, args=piece
                )
            case _:
                pass

    def _think(
        self, index: int, text: str | None, signature: str | None
    ) -> Iterator[ModelResponseStreamEvent]:
        return self._parts_manager.handle_thinking_delta(
            vendor_part_id=index,
            content=text,
            signature=signature,
            provider_name=self.provider_name,
        )

    def _count(self, usage: Json) -> None:
        """What the last event says holds: its numbers are for the whole answer."""
        fresh, read, wrote = (
            int(usage.get(name) or 0)
            for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        )
        before = self._usage
        self._usage = RequestUsage(
            input_tokens=fresh + read + wrote or before.input_tokens,
            cache_read_tokens=read or before.cache_read_tokens,
            cache_write_tokens=wrote or before.cache_write_tokens,
            output_tokens=int(usage.get("output_tokens") or before.output_tokens),
        )
