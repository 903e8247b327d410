from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver_server.calls import Tokens
from salver_server.usage.price import (
    ADDED,
    LONGEST_ANSWER,
    MOST,
    Claim,
    Price,
    Rates,
    claim,
    cost,
)
from tests.server.usage.conftest import ask


def rates(input_: str, output: str, read: str, write: str) -> Rates:
    return Rates(
        input=Decimal(input_),
        output=Decimal(output),
        cache_read=Decimal(read),
        cache_write=Decimal(write),
    )


SHORT = rates("3", "15", "0.3", "3.75")
LONG = rates("6", "22.5", "0.6", "7.5")
PRICE = Price(rates=SHORT, long=((200_000, LONG),), date="2026-11-09")
WINDOW = Price(rates=SHORT, window=5_000, date="2026-11-09")

tokens = st.integers(min_value=0, max_value=10**7)


def test_each_kind_of_token_has_its_price() -> None:
    took = Tokens(input=1_000, output=100, cache_read=600, cache_write=300)
    assert cost(took, PRICE) == 100 * 3 + 600 * 0.3 + 300 * 3.75 + 100 * 15 == 3105


def test_a_call_is_rounded_up_once_and_as_a_whole() -> None:
    assert cost(Tokens(input=1, output=0, cache_read=1), PRICE) == 1
    assert cost(Tokens(input=0, output=0), PRICE) == 0


def test_a_long_call_pays_the_long_rates_for_all_of_it() -> None:
    assert cost(Tokens(input=200_000, output=0), PRICE) == 600_000
    assert cost(Tokens(input=200_001, output=1), PRICE) == 1_200_029


def test_a_claim_takes_three_bytes_for_a_token_and_the_dearest_input() -> None:
    assert claim(ask(size=30_000, most_output=100), PRICE) == Claim(
        tokens=10_000 + ADDED + 100, cost=11_000 * 375 // 100 + 100 * 15
    )


def test_no_more_input_is_claimed_than_the_window_holds() -> None:
    assert claim(ask(size=10**9, most_output=1), WINDOW).tokens == 5_001


@pytest.mark.parametrize("limit", [None, 0, -5])
def test_a_call_that_sets_no_limit_claims_a_long_answer(limit: int | None) -> None:
    assert claim(ask(most_output=limit), None) == Claim(tokens=ADDED + LONGEST_ANSWER, cost=None)


def test_numbers_of_a_sandbox_make_no_claim_too_large_to_be_kept() -> None:
    found = claim(ask(size=10**30, most_output=10**30), PRICE)
    assert found.tokens == 2 * MOST
    assert found.cost is not None
    assert found.cost < 2**63


@given(size=tokens, limit=st.integers(1, 100_000), share=st.floats(0, 1), read=st.floats(0, 1))
def test_what_keeps_within_its_bounds_costs_no_more_than_was_claimed(
    size: int, limit: int, share: float, read: float
) -> None:
    claimed = claim(ask(size=size, most_output=limit), PRICE)
    input_ = int((size // 3 + ADDED) * share)
    cached = int(input_ * read)
    took = Tokens(
        input=input_, output=int(limit * share), cache_read=cached, cache_write=input_ - cached
    )
    assert claimed.cost is not None
    assert cost(took, PRICE) <= claimed.cost
