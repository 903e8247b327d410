import pytest

from salver_server.agents.matter import front_matter
from salver_server.errors import Rejected


def test_fields_and_text_are_told_apart() -> None:
    text = "\ufeff---\nname: letters\nnumber: 7\n---\n\nWrite *well*.\n---\nBriefly.\n"
    assert front_matter(text, file="SKILL.md") == (
        {"name": "letters", "number": 7},
        "Write *well*.\n---\nBriefly.",
    )


def test_a_text_without_fields_is_all_text() -> None:
    assert front_matter("Write.\n", file="SKILL.md") == ({}, "Write.")
    assert front_matter("---\n---\nWrite.", file="SKILL.md") == ({}, "Write.")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("---\nname: x", "SKILL.md begins with '---', but no second"),
        ("---\na: [\n---\n", "SKILL.md, line 2: "),
        ("---\nwords\n---\n", "there must be lines like"),
        ("half \ud83d", "half of a character"),
    ],
)
def test_what_can_not_be_read_is_refused_with_the_file_s_name(text: str, says: str) -> None:
    with pytest.raises(Rejected, match=says):
        front_matter(text, file="SKILL.md")
