"""How large provider messages are, and the same made shorter where one part of them is too large.

What a vendor has counted is known from its last answer; all else is estimated.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)

from salver_runner.compaction import Entry
from salver_runner.context import BYTES_A_TOKEN, tokens
from salver_runner.tools import shorten

Of = TypeVar("Of", bound=ModelMessage)

PICTURE = 1500
"""Tokens that a picture takes, about."""
SHORTEST = 1000
"""Characters to which a part of a message is shortened at most."""


def used(messages: Sequence[ModelMessage], *, fixed: int) -> int:
    """Tokens of a request of these messages; `fixed` is what stands before them."""
    estimated = fixed + sum(map(size, messages))
    for index in reversed(range(len(messages))):
        message = messages[index]
        if isinstance(message, ModelResponse) and message.usage.input_tokens:
            known = message.usage.input_tokens + message.usage.output_tokens
            # Some servers count only what they had not read before: no count is believed that is far too low.
            return max(known + sum(map(size, messages[index + 1 :])), estimated // 2)
    return estimated


def entry(message: ModelMessage) -> Entry:
    match message:
        case ModelResponse():
            return Entry(kind="answer", size=size(message))
        case ModelRequest(parts=parts) if any(isinstance(part, ToolReturnPart) for part in parts):
            return Entry(kind="returns", size=size(message))
        case _:
            return Entry(kind="asked", size=size(message))


def size(message: ModelMessage) -> int:
    """Tokens, about."""
    return tokens("".join(texts(message))) + PICTURE * len(pictures(message))


def texts(message: ModelMessage) -> list[str]:
    """All text that a message holds."""
    found: list[str] = []
    for part in message.parts:
        match part:
            case UserPromptPart(content=str(content)):
                found.append(content)
            case UserPromptPart(content=content):
                found += [piece for piece in content if isinstance(piece, str)]
            case ToolReturnPart():
                found.append(part.model_response_str())
            case TextPart() | ThinkingPart():
                found.append(part.content)
            case ToolCallPart():
                found += [part.tool_name, part.args_as_json_str()]
            case _:
                pass
    return found


def pictures(message: ModelMessage) -> list[UserContent]:
    return [
        piece
        for part in message.parts
        if isinstance(part, UserPromptPart) and not isinstance(part.content, str)
        for piece in part.content
        if not isinstance(piece, str)
    ]


def uncounted(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """Without what vendors counted: it was of another request than the one that these are part of now."""
    return [
        replace(message, usage=type(message.usage)())
        if isinstance(message, ModelResponse)
        else message
        for message in messages
    ]


def fitting(messages: Sequence[Of], *, most: int) -> list[Of]:
    """The messages with no message of a person's and no result of a tool larger than `most` tokens."""
    characters = max(SHORTEST, most * BYTES_A_TOKEN)
    return [_fitting(message, characters) for message in messages]


def squeezed(messages: Sequence[Of], *, room: int) -> list[Of]:
    """The messages shortened until they fit into `room`, as far as that is possible."""
    most = room
    found = list(messages)
    while sum(map(size, found)) > room and most * BYTES_A_TOKEN > SHORTEST:
        found = fitting(found, most=most)
        most //= 2
    return found


def _fitting(message: Of, characters: int) -> Of:
    if not isinstance(message, ModelRequest) or size(message) * BYTES_A_TOKEN <= characters:
        return message
    parts = [_short(part, characters) for part in message.parts]
    return cast(Any, replace(message, parts=parts))


def _short(part: ModelRequestPart, characters: int) -> ModelRequestPart:
    match part:
        case UserPromptPart(content=str(content)):
            return replace(part, content=_cut(content, characters))
        case UserPromptPart(content=content):
            held = [
                _cut(piece, characters) if isinstance(piece, str) else piece for piece in content
            ]
            return replace(part, content=held)
        case ToolReturnPart(content=str(content)):
            return replace(part, content=_cut(content, characters))
        case _:
            return part


def _cut(text: str, characters: int) -> str:
    """By the share of bytes: what takes more bytes takes more tokens."""
    heavy = len(text.encode(errors="replace"))
    return (
        shorten(text, max(SHORTEST, len(text) * characters // heavy))
        if heavy > characters
        else text
    )
