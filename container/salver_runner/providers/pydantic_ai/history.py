"""The conversation so far: read as it was kept, and as a vendor takes it who did not give every answer.

What only the vendor understands who gave an answer (signed or sealed thoughts, its own ids) is left
out for another, and a call keeps an id that every vendor takes.
"""

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from pydantic import ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)

from salver_runner.turn import JsonObject

logger = logging.getLogger(__name__)

PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""What every vendor takes as the id of a call."""


def read(history: list[JsonObject]) -> list[ModelMessage]:
    try:
        return ModelMessagesTypeAdapter.validate_python(history)
    except ValidationError:
        logger.exception("the conversation so far cannot be read; going on without it")
        return []


def written(messages: Iterable[ModelMessage]) -> list[JsonObject]:
    return ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")


def for_vendor(messages: Iterable[ModelMessage], vendor: str) -> list[ModelMessage]:
    """The conversation as `vendor` takes it."""
    found: list[ModelMessage] = []
    foreign: set[str] = set()
    for message in messages:
        if isinstance(message, ModelRequest):
            found.append(_returned(message, foreign))
        elif message.provider_name in (vendor, None):
            found.append(message)
        else:
            foreign |= {part.tool_call_id for part in message.tool_calls}
            parts = [part for old in message.parts if (part := _plain(old)) is not None]
            # An answer of thoughts alone is none to anybody else.
            found += [ModelResponse(parts=parts, finish_reason=message.finish_reason)] * bool(parts)
    return found


def _plain(part: ModelResponsePart) -> ModelResponsePart | None:
    match part:
        case TextPart():
            return TextPart(part.content)
        case ToolCallPart():
            args = cast("str | dict[str, object] | None", part.args)
            return ToolCallPart(part.tool_name, args, tool_call_id=_id(part.tool_call_id))
        case _:
            return None


def _returned(request: ModelRequest, foreign: set[str]) -> ModelRequest:
    """The results of calls that another vendor's model made, under the ids that those have now."""
    if not foreign:
        return request
    return replace(
        request,
        parts=[
            replace(part, tool_call_id=_id(part.tool_call_id))
            if isinstance(part, ToolReturnPart) and part.tool_call_id in foreign
            else part
            for part in request.parts
        ],
    )


def _id(given: str) -> str:
    if PLAIN_ID.fullmatch(given):
        return given
    return "call_" + hashlib.sha256(given.encode()).hexdigest()[:24]
