"""Pictures that came with messages, as a model that sees takes them.

The conversation keeps where a picture lies and not its bytes; they are put in when a request is made,
the latest ones, and left out for a model that sees none: the text names every file in any case.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    UserContent,
    UserPromptPart,
)

from salver_runner.inbox import Message

TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
LARGEST = 5 * 1024 * 1024
"""Bytes; Anthropic takes no larger one."""
MOST = 10
"""In one request."""
SCHEME = "salver:"


def content(text: str, messages: Iterable[Message]) -> str | list[UserContent]:
    """What a request holds of these messages: their text, and where their pictures lie."""
    pictures: list[UserContent] = [
        ImageUrl(f"{SCHEME}{message.id}/{file.name}", media_type=file.type)
        for message in messages
        for file in message.files
        if file.type in TYPES and file.size <= LARGEST
    ]
    return [text, *pictures] if pictures else text


def shown(messages: Sequence[ModelMessage], *, sees: bool, files: Path) -> list[ModelMessage]:
    """The conversation with the pictures themselves."""
    room = MOST if sees else 0
    found: list[ModelMessage] = []
    for message in reversed(messages):
        if isinstance(message, ModelRequest):
            message, taken = _request(message, room, files)
            room -= taken
        found.append(message)
    return found[::-1]


def _request(request: ModelRequest, room: int, files: Path) -> tuple[ModelRequest, int]:
    taken = 0
    parts = list(request.parts)
    for index, part in enumerate(parts):
        if isinstance(part, UserPromptPart) and not isinstance(part.content, str):
            held: list[UserContent] = []
            for piece in part.content:
                if not isinstance(piece, ImageUrl):
                    held.append(piece)
                elif taken < room and (picture := _picture(piece, files)) is not None:
                    held.append(picture)
                    taken += 1
            words = held[0] if len(held) == 1 and isinstance(held[0], str) else held
            parts[index] = replace(part, content=words)
    return replace(request, parts=parts), taken


def _picture(place: ImageUrl, files: Path) -> BinaryContent | None:
    """None for one that is not there any more: the conversation goes on without it."""
    try:
        data = (files / place.url.removeprefix(SCHEME)).read_bytes()
    except OSError:
        return None
    return BinaryContent(data, media_type=place.media_type) if len(data) <= LARGEST else None
