from hypothesis import given
from hypothesis import strategies as st

from salver_server.gateway.scrub import Scrub

PIECES = st.lists(st.text(alphabet="abx", max_size=6))


def scrubbed(key: str, pieces: list[str]) -> str:
    scrub = Scrub(key)
    return (b"".join([scrub.feed(piece.encode()) for piece in pieces]) + scrub.rest()).decode()


@given(st.text(alphabet="ab", min_size=2, max_size=4), PIECES)
def test_the_key_is_found_however_it_is_cut(key: str, pieces: list[str]) -> None:
    assert key not in scrubbed(key, pieces)


@given(PIECES)
def test_all_else_comes_through_unchanged(pieces: list[str]) -> None:
    assert scrubbed("key", pieces) == "".join(pieces)


def test_a_piece_that_cannot_begin_the_key_is_not_held_back() -> None:
    scrub = Scrub("sk-1")
    assert scrub.feed(b'data: {"ok": 1}\n\n') == b'data: {"ok": 1}\n\n'
    assert scrub.feed(b"ask") == b"a"
    assert scrub.feed(b"-2") == b"sk-2"


def test_without_a_key_nothing_is_touched() -> None:
    assert scrubbed("", ["a", "b"]) == "ab"
