import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver_server.calls import Tokens
from salver_server.gateway import counting
from salver_server.gateway.counting import Counter, Events
from salver_server.gateway.upstream import WIRES
from tests.server.gateway.answers import (
    ANSWERS,
    CHAT_TOKENS,
    CHAT_USAGE,
    MESSAGE_START,
    Answer,
    chunk,
    data,
    delta,
    gemini,
    named,
    words,
)


def counted(answer: Answer, pieces: Sequence[bytes], *, whole: bool = True) -> Tokens | None:
    counter = Counter(WIRES[answer.wire])
    counter.begin(answer.content_type)
    for piece in pieces:
        counter.feed(piece)
    if whole:
        counter.end()
    return counter.tokens


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.id)
def test_the_tokens_of_every_vendor_are_read(answer: Answer) -> None:
    assert counted(answer, [answer.text]) == answer.tokens


@given(st.sampled_from(ANSWERS), st.lists(st.integers(min_value=0, max_value=2000)))
def test_cutting_an_answer_anywhere_changes_nothing(answer: Answer, cuts: list[int]) -> None:
    ends = [0, *sorted(min(cut, len(answer.text)) for cut in cuts), len(answer.text)]
    pieces = [answer.text[start:end] for start, end in itertools.pairwise(ends)]
    assert counted(answer, pieces) == answer.tokens


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.id)
def test_an_answer_may_come_letter_by_letter(answer: Answer) -> None:
    assert counted(answer, [bytes([letter]) for letter in answer.text]) == answer.tokens


@pytest.mark.parametrize(
    "answer", [answer for answer in ANSWERS if answer.counted_after], ids=lambda answer: answer.id
)
def test_who_hangs_up_after_the_last_word_pays(answer: Answer) -> None:
    upto = answer.text.index(answer.counted_after) + len(answer.counted_after)
    assert counted(answer, [answer.text[:upto]], whole=False) == answer.tokens


@pytest.mark.parametrize(
    "answer",
    [
        Answer(
            id="chat",
            wire="chat",
            text=data(chunk(delta("a"), {"prompt_tokens": 9, "completion_tokens": 1})),
            tokens=None,
        ),
        Answer(
            id="google",
            wire="google",
            text=data(gemini("a", {"promptTokenCount": 9, "candidatesTokenCount": 1})),
            tokens=None,
        ),
        Answer(
            id="anthropic", wire="anthropic", text=named(MESSAGE_START, words("a")), tokens=None
        ),
    ],
    ids=lambda answer: answer.id,
)
def test_who_hangs_up_before_it_is_not_told_a_lower_price(answer: Answer) -> None:
    assert counted(answer, [answer.text], whole=False) is None


def test_an_event_that_is_too_long_is_left_out_and_the_next_one_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "LONGEST", 400)
    long = b"data: " + b"x" * 1000 + b"\ndata: more\n\n"
    answer = Answer(
        id="long", wire="chat", text=long + data(chunk([], {"prompt_tokens": 1})), tokens=None
    )
    for size in (1, 7, 399, 5000):
        pieces = [answer.text[at : at + size] for at in range(0, len(answer.text), size)]
        assert counted(answer, pieces) == Tokens(input=1, output=0)


def test_an_answer_in_one_piece_that_is_too_long_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "LONGEST", 100)
    (answer,) = (answer for answer in ANSWERS if answer.id == "chat, in one piece")
    assert counted(answer, [answer.text[:90], answer.text[90:], b"{}"]) is None


def test_data_over_several_lines_is_one_event() -> None:
    text = b'event: x\nid: 1\ndata: {"usage":\r\ndata:  1}\r\n\r\n: note\n\ndata:a\n\ndata\n\n'
    assert Events().feed(text) == [b'{"usage":\n 1}', b"a"]


def test_the_last_event_counts_without_a_blank_line_after_it() -> None:
    text = data(chunk([], CHAT_USAGE)).rstrip(b"\n")
    assert counted(Answer(id="", wire="chat", text=text, tokens=None), [text]) == CHAT_TOKENS
