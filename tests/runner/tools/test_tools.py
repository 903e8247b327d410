"""What all tools share."""

import pytest

from salver_runner import tools
from salver_runner.tools import LONGEST_RESULT, shorten


def test_every_tool_is_found_by_its_name_and_describes_itself() -> None:
    found = tools.discover()
    assert "shell" in found
    for name, spec in found.items():
        assert spec.name == name
        assert len(spec.description) > 40
        assert spec.longest > 0
        assert spec.parameters["type"] == "object"
        assert spec.parameters["additionalProperties"] is False


@pytest.mark.parametrize("length", [0, 1, 99, 100])
def test_short_text_stays_as_it_is(length: int) -> None:
    assert shorten("x" * length, 100) == "x" * length


def test_of_long_text_the_middle_is_left_out() -> None:
    text = shorten("b" + "x" * 500 + "e", 100)
    assert text == "b" + "x" * 49 + "\n[… 402 characters left out …]\n" + "x" * 49 + "e"


def test_a_result_is_bounded() -> None:
    assert len(shorten("x" * 10 * LONGEST_RESULT)) < LONGEST_RESULT + 100
