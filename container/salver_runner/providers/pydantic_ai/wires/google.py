"""Google's generateContent."""

import base64
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.messages import (
    BinaryContent,
    FinishReason,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
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

FINISHED: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
}
"""Every other reason means that there is no answer, such as MALFORMED_FUNCTION_CALL."""

SIGNATURE = "thought_signature"
NO_SIGNATURE = "skip_thought_signature_validator"
"""What Google takes in the place of a signature for a call that another vendor's model made."""
LENIENT = ("gemini-1", "gemini-2", "gemma")
"""Models that want none."""


def open_model(choice: Choice, door: Door) -> Model:
    def body(messages: list[ModelMessage], parameters: ModelRequestParameters) -> Json:
        return request(choice, messages, parameters)

    path = f"/v1beta/models/{quote(choice.model, safe='')}:streamGenerateContent?alt=sse"
    headers = {"x-goog-api-key": door.token}
    form = Format(path=path, headers=headers, body=body, answer=Content)
    return WireModel(choice, door, form)


def request(
    choice: Choice, messages: Sequence[ModelMessage], parameters: ModelRequestParameters
) -> Json:
    strict = not choice.model.startswith(LENIENT)
    body: Json = {"contents": _contents(messages, strict=strict)}
    if system := "\n\n".join(part.content for part in parameters.instruction_parts or []):
        body["systemInstruction"] = {"parts": [{"text": system}]}
    if parameters.function_tools:
        declared = [
            {
                "name": tool.name,
                "description": tool.description or "",
                "parametersJsonSchema": tool.parameters_json_schema,
            }
            for tool in parameters.function_tools
        ]
        body["tools"] = [{"functionDeclarations": declared}]
    return body


def _contents(messages: Sequence[ModelMessage], *, strict: bool) -> list[Json]:
    """Person and model by turns: neighbours of one role become one."""
    contents: list[Json] = []
    for message in messages:
        if isinstance(message, ModelRequest):
            role, parts = "user", [one for part in message.parts for one in _asked(part)]
        else:
            role, parts = "model", [one for part in message.parts for one in _answered(part)]
            if message.provider_name is None and strict:
                _sign(parts)
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": role, "parts": parts})
    return contents


def _sign(parts: list[Json]) -> None:
    """Of calls that are made at once only the first has a signature."""
    for part in parts:
        if "functionCall" in part:
            part["thoughtSignature"] = NO_SIGNATURE
            return


def _asked(part: ModelRequestPart) -> Iterator[Json]:
    match part:
        case ToolReturnPart():
            result = {"name": part.tool_name, "response": {"result": part.model_response_str()}}
            yield {"functionResponse": result}
        case UserPromptPart(content=str(text)):
            yield {"text": text}
        case UserPromptPart(content=pieces):
            yield from (one for piece in pieces if (one := _piece(piece)))
        case _:
            pass


def _piece(piece: UserContent) -> Json | None:
    match piece:
        case str():
            return {"text": piece}
        case BinaryContent():
            data = base64.b64encode(piece.data).decode()
            return {"inlineData": {"mimeType": piece.media_type, "data": data}}
        case _:
            return None


def _answered(part: ModelResponsePart) -> Iterator[Json]:
    signature = (part.provider_details or {}).get(SIGNATURE)
    signed = {"thoughtSignature": signature} if signature else {}
    match part:
        case TextPart() if part.content or signed:
            yield {"text": part.content, **signed}
        case ThinkingPart() if signed:
            yield {"text": part.content, "thought": True, **signed}
        case ToolCallPart():
            call = {"name": part.tool_name, "args": _arguments(part)}
            yield {"functionCall": call, **signed}
        case _:
            pass


def _arguments(call: ToolCallPart) -> Json:
    try:
        return call.args_as_dict(raise_if_invalid=True)
    except (ValueError, AssertionError):
        return {}  # it was answered with what was wrong with it


@dataclass
class Content(Answer):
    whole: bool = False

    def read(self, event: Json) -> Iterator[ModelResponseStreamEvent]:
        self.provider_response_id = event.get("responseId") or self.provider_response_id
        self._count(event.get("usageMetadata") or {})
        match event:
            case {"promptFeedback": {"blockReason": str(reason)}}:
                self._finish(reason, "content_filter")
            case {"candidates": [{} as candidate, *_]}:
                yield from self._candidate(cast("Json", candidate))
            case _:
                pass

    def _candidate(self, candidate: Json) -> Iterator[ModelResponseStreamEvent]:
        content: Json = candidate.get("content") or {}
        parts: list[Json] = content.get("parts") or []
        for part in parts:
            yield from self._part(part)
        if reason := candidate.get("finishReason"):
            self._finish(reason, FINISHED.get(reason))

    def ended(self) -> bool:
        return self.whole

    def _finish(self, reason: str, means: FinishReason | None) -> None:
        if means is None:
            raise UnexpectedModelBehavior(f"the answer ended with {reason}")
        self.whole = True
        self.finish_reason = means
        self.provider_details = {"finish_reason": reason}

    def _part(self, part: Json) -> Iterator[ModelResponseStreamEvent]:
        signature = part.get("thoughtSignature")
        details = {SIGNATURE: signature} if signature else None
        match part:
            case {"functionCall": {"name": str(name)} as call}:
                yield self._parts_manager.handle_tool_call_part(
                    vendor_part_id=uuid.uuid4(),
                    tool_name=name,
                    args=call.get("args") or {},
                    tool_call_id=call.get("id") or f"call_{uuid.uuid4().hex[:24]}",
                    provider_name=self.provider_name,
                    provider_details=details,
                )
            case {"text": str(text), "thought": True}:
                yield from self._parts_manager.handle_thinking_delta(
                    vendor_part_id="thought",
                    content=text,
                    provider_name=self.provider_name,
                    provider_details=details,
                )
            case {"text": str(text)} if text or details:
                yield from self._parts_manager.handle_text_delta(
                    vendor_part_id=None,
                    content=text,
                    provider_name=self.provider_name,
                    provider_details=details,
                )
            case _:
                pass

    def _count(self, usage: Json) -> None:
        if usage:
            self._usage = RequestUsage(
                input_tokens=int(usage.get("promptTokenCount") or 0),
                cache_read_tokens=int(usage.get("cachedContentTokenCount") or 0),
                output_tokens=int(usage.get("candidatesTokenCount") or 0)
                + int(usage.get("thoughtsTokenCount") or 0),
            )
