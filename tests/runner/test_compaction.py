from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from salver_runner.compaction import Cut, Entry, is_due, plan


def asked(size: int = 10) -> list[Entry]:
    return [Entry(kind="asked", size=size)]


def answered(size: int = 10) -> list[Entry]:
    return [Entry(kind="answer", size=size)]


def used(size: int = 10) -> list[Entry]:
    """A call and what it returned."""
    return [Entry(kind="answer", size=5), Entry(kind="returns", size=size)]


def test_the_newest_rounds_that_fit_stay() -> None:
    conversation = [*asked(), *answered(), *asked(), *answered(), *asked(), *answered()]
    assert plan(conversation, room=45) == Cut(keep=2, carry=None)
    assert plan(conversation, room=39) == Cut(keep=4, carry=None)


def test_the_newest_round_stays_however_large_it_is() -> None:
    assert plan([*asked(), *answered(), *asked(100)], room=50) == Cut(keep=2, carry=None)


def test_what_was_asked_stays_while_its_tools_fill_the_room() -> None:
    conversation = [*asked(), *answered(), *asked(), *used(40), *used(40), *used(40)]
    cut = plan(conversation, room=60)
    assert cut == Cut(keep=7, carry=2)
    assert cut
    assert cut.goes() == [0, 1, 3, 4, 5, 6]


def test_where_nothing_would_go_there_is_no_cut() -> None:
    assert plan([], room=100) is None
    assert plan([*asked(1000)], room=100) is None
    assert plan([*asked(), *answered(), *asked(), *answered()], room=100) is None
    assert plan([*asked(), *used(500)], room=100) is None


def test_a_conversation_is_compacted_before_it_is_too_long() -> None:
    assert [is_due(used, 1000) for used in (0, 750, 751, 5000)] == [False, False, True, True]


SIZES = st.integers(1, 500)
ROUNDS = st.one_of(
    SIZES.map(asked),  # cut off before the first word
    st.tuples(SIZES, SIZES).map(lambda it: [*asked(it[0]), *answered(it[1])]),
    st.tuples(SIZES, SIZES).map(lambda it: [*asked(it[0]), *used(it[1])]),
    SIZES.map(used),
    SIZES.map(answered),
)


@given(rounds=st.lists(ROUNDS, max_size=12), room=st.integers(0, 3000))
def test_no_round_is_split_and_what_was_said_last_stays(
    rounds: list[list[Entry]], room: int
) -> None:
    entries = [entry for part in rounds for entry in part]
    cut = plan(entries, room=room)
    goes = set(cut.goes()) if cut else set[int]()
    stays = [index for index in range(len(entries)) if index not in goes]
    kinds = [entry.kind for entry in entries]
    if "asked" in kinds:
        assert len(kinds) - 1 - kinds[::-1].index("asked") in stays
    for before, after in pairwise(range(len(entries))):
        if kinds[after] == "returns":  # a call stays with its result, and goes with it
            assert (before in stays) == (after in stays)
    if cut:
        assert goes
        assert cut.keep in stays
        size = sum(entries[index].size for index in stays)
        assert size <= room or is_one_round(kinds[cut.keep :])


def is_one_round(kinds: list[str]) -> bool:
    return kinds in (
        ["asked"],
        ["answer"],
        ["answer", "returns"],
        ["asked", "answer"],
        ["asked", "answer", "returns"],
    )


def test_what_stays_fits_unless_it_is_one_round() -> None:
    conversation = [*asked(), *answered()] * 50
    cut = plan(conversation, room=215)
    assert cut
    assert sum(entry.size for entry in conversation[cut.keep :]) == 200
