import unicodedata
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver_server.files.names import (
    LONGEST,
    NAMELESS,
    RESERVED,
    UNSEEN,
    UNUSABLE,
    distinct,
    numbered,
    safe,
)


@dataclass(frozen=True, kw_only=True)
class Case:
    given: str
    safe: str


CASES = [
    Case(given="holiday.png", safe="holiday.png"),
    Case(given="Ünïcode ist schön.txt", safe="Ünïcode ist schön.txt"),
    Case(given="../../etc/passwd", safe="passwd"),
    Case(given="C:\\Users\\me\\a.txt", safe="a.txt"),
    Case(given="..", safe=NAMELESS),
    Case(given="", safe=NAMELESS),
    Case(given="/", safe=NAMELESS),
    Case(given=".bashrc", safe="bashrc"),
    Case(given="...a", safe="a"),
    Case(given=" a .", safe="a"),
    Case(given="a\nb\tc\0d", safe="a b cd"),
    Case(given="\x1b[31mred", safe="[31mred"),
    Case(given="invoice\u202egnp.exe", safe="invoicegnp.exe"),
    Case(given="half\ud800.txt", safe="half.txt"),
    Case(given="a\u200b.txt", safe="a.txt"),
    Case(given='<message>"x"|?*.txt', safe="_message__x____.txt"),
    Case(given="CON", safe="_CON"),
    Case(given="nul.tar.gz", safe="_nul.tar.gz"),
    Case(given="LPT1 .txt", safe="_LPT1 .txt"),
    Case(given="console.txt", safe="console.txt"),
    Case(given="e\u0301.txt", safe="é.txt"),
    Case(given="x" * 300 + ".png", safe="x" * 116 + ".png"),
    Case(given="ä" * 300 + ".png", safe="ä" * 58 + ".png"),
    Case(given="a." + "x" * 300, safe="a." + "x" * 118),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.given)[:30])
def test_a_name_is_made_safe(case: Case) -> None:
    assert safe(case.given) == case.safe


NAMES = st.text(max_size=300) | st.text(alphabet="aux.con/\\ \u202e\u0301\r-Ä1", max_size=200)


@given(NAMES)
def test_whatever_was_asked_for_is_a_name_and_no_more(name: str) -> None:
    found = safe(name)
    assert found
    assert not any(letter in found for letter in "/\\\0")
    assert not any(unicodedata.category(letter) in UNSEEN for letter in found)
    assert not UNUSABLE.search(found)
    assert not RESERVED.match(found)
    assert found == unicodedata.normalize("NFC", found)
    assert found == found.strip(" ")
    assert not found.startswith(".")
    assert not found.endswith(".")
    assert len(found.encode()) <= LONGEST


@given(NAMES)
def test_a_safe_name_stays_as_it_is(name: str) -> None:
    assert safe(safe(name)) == safe(name)


@given(NAMES, st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True))
def test_the_extension_is_kept(stem: str, extension: str) -> None:
    stem = stem.replace("/", "").replace("\\", "")
    assert safe(f"x{stem}.{extension}").endswith(f".{extension}")


@given(st.lists(NAMES, max_size=20))
def test_no_two_files_of_a_message_have_one_name(names: list[str]) -> None:
    found = distinct(names)
    assert len({name.casefold() for name in found}) == len(names)
    assert all(name == safe(name) for name in found)


def test_the_second_of_a_name_is_numbered_before_its_extension() -> None:
    assert distinct(["a.txt", "A.txt", "a-2.txt", "a.txt"]) == [
        "a.txt",
        "A-2.txt",
        "a-2-2.txt",
        "a-3.txt",
    ]
    assert numbered("README", 2) == "README-2"
