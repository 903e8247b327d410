import re

import pytest

from salver_server.ids import AGENT_NAME, mint, new_epoch


def test_an_id_tells_its_kind_and_is_minted_once() -> None:
    found = {mint("msg") for _ in range(1000)}
    assert len(found) == 1000
    assert all(re.fullmatch(r"msg-[0-9a-f]{20}", id_) for id_ in found)


def test_an_epoch_fits_a_database_and_is_never_zero() -> None:
    found = {new_epoch() for _ in range(1000)}
    assert len(found) == 1000
    assert all(0 < epoch < 2**63 for epoch in found)


@pytest.mark.parametrize("name", ["a", "7", "salver", "a-b-c", "a" * 40])
def test_a_plain_name_is_an_agent_s(name: str) -> None:
    assert AGENT_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", "-", "-a", "a-", "A", "a b", "a.b", "..", "a/b", "ä", "a\n", "a" * 41, "٣"]
)
def test_a_name_that_no_folder_should_have_is_not(name: str) -> None:
    assert not AGENT_NAME.fullmatch(name)
