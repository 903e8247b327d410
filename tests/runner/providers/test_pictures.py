"""Pictures are kept as places, and put in where a model sees."""

from pathlib import Path

import pytest
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    UserContent,
    UserPromptPart,
)

from salver_runner.inbox import File, Message
from salver_runner.providers.pydantic_ai.history import read, written
from salver_runner.providers.pydantic_ai.pictures import LARGEST, MOST, content, shown


def message(*files: File) -> Message:
    return Message(
        seq=1,
        id="m-1",
        kind="message",
        target=None,
        sender="Ada",
        sent_at="2026-11-22T09:57:00.000Z",
        text="look",
        files=files,
        wakes=True,
    )


def png(name: str, size: int = 3) -> File:
    return File(name=name, type="image/png", size=size)


def asked(*files: File) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(content("look", [message(*files)]))])


def pieces(request: ModelMessage) -> list[UserContent]:
    part = request.parts[0]
    assert isinstance(part, UserPromptPart)
    return [part.content] if isinstance(part.content, str) else list(part.content)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "m-1").mkdir()
    for number in range(MOST + 2):
        (tmp_path / "m-1" / f"{number}.png").write_bytes(b"png")
    return tmp_path


def test_only_pictures_of_a_bearable_size_are_taken_along() -> None:
    pdf = File(name="a.pdf", type="application/pdf", size=3)
    found = content("look", [message(png("0.png"), pdf, png("1.png", LARGEST + 1))])
    assert found == ["look", ImageUrl("salver:m-1/0.png", media_type="image/png")]
    assert content("look", [message(pdf)]) == "look"


def test_the_latest_ones_are_shown(files: Path) -> None:
    first = asked(*(png(f"{number}.png") for number in range(4)))
    answer = ModelResponse(parts=[TextPart("nice")])
    last = asked(*(png(f"{number}.png") for number in range(MOST - 2)))
    before, _, after = shown([first, answer, last], sees=True, files=files)
    assert [type(piece) for piece in pieces(before)] == [str] + [BinaryContent] * 2
    assert [type(piece) for piece in pieces(after)] == [str] + [BinaryContent] * (MOST - 2)


def test_without_sight_or_file_the_words_are_left(files: Path) -> None:
    assert pieces(shown([asked(png("0.png"))], sees=False, files=files)[0]) == ["look"]
    assert pieces(shown([asked(png("gone.png"))], sees=True, files=files)[0]) == ["look"]


def test_what_is_kept_of_a_picture_is_where_it_lies() -> None:
    kept = written([asked(png("0.png"))])
    assert len(str(kept)) < 1000
    assert pieces(read(kept)[0]) == pieces(asked(png("0.png")))
