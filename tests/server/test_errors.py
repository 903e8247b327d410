import pytest

from salver_server.errors import (
    Broken,
    Conflict,
    Missing,
    NeedsUser,
    Rejected,
    SalverError,
    Transient,
)


@pytest.mark.parametrize("kind", [Transient, NeedsUser, Rejected, Missing, Conflict, Broken])
def test_an_error_is_the_sentence_that_a_person_reads(kind: type[SalverError]) -> None:
    error = kind("The disk is full. Free some space.")
    assert str(error) == "The disk is full. Free some space."
    assert isinstance(error, SalverError)


def test_what_can_be_tried_again_may_say_when() -> None:
    assert Transient("busy").retry_after is None
    assert Transient("busy", retry_after=7.5).retry_after == 7.5


def test_what_is_missing_or_in_the_way_is_the_caller_s_mistake() -> None:
    assert issubclass(Missing, Rejected)
    assert issubclass(Conflict, Rejected)
    assert not issubclass(NeedsUser, Rejected)
