import pytest

from salver_runner.context import MOST_MESSAGES, Context, part, tokens


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("a", 1), ("four", 1), ("twelve chars", 3), ("木" * 4, 3)]
)
def test_tokens_are_estimated_by_the_size_of_a_text(text: str, count: int) -> None:
    assert tokens(text) == count


def test_half_a_character_is_counted_too() -> None:
    assert tokens("\ud83d") == 1


def test_a_record_tells_of_every_part_that_there_is() -> None:
    context = Context(
        model="openai/gpt-5",
        window=400_000,
        used=1200,
        compacted=False,
        parts=[part("base", ["four", "more"]), part("skills", []), part("history", ["x" * 40])],
        messages=[3, 4],
    )
    assert context.record() == {
        "model": "openai/gpt-5",
        "window": 400_000,
        "used": 1200,
        "compacted": False,
        "parts": [
            {"part": "base", "characters": 8, "tokens": 2, "count": 2},
            {"part": "history", "characters": 40, "tokens": 10, "count": 1},
        ],
        "messages": [3, 4],
    }


def test_a_record_is_bounded() -> None:
    context = Context(model="m", window=0, used=0, compacted=True, parts=[], messages=range(5000))
    assert context.record()["messages"] == list(range(5000))[-MOST_MESSAGES:]
