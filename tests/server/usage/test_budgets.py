from dataclasses import dataclass

import pytest

from salver_server.agents import Budget
from salver_server.usage.budgets import Limit, Use, binding, fits, house, limits, over, unknown
from salver_server.usage.price import Claim
from tests.server.usage.conftest import ADA, DOLLAR, ask

DAY = Limit(scope="day", unit="usd", most=DOLLAR)
CAP = Limit(scope="day", unit="tokens", most=50_000)
HOUSE = Limit(scope="house", unit="usd", most=5 * DOLLAR)
PRICED = Claim(tokens=2_000, cost=120_000)
UNPRICED = Claim(tokens=2_000, cost=None)


def test_what_is_not_named_has_no_limit() -> None:
    assert limits(Budget()) == house(None) == []


def test_every_budget_becomes_a_limit() -> None:
    budget = Budget(
        usd_per_day=1, usd_per_turn=0.1, usd_per_session=2.345678, tokens_per_day=50_000
    )
    assert limits(budget) == [
        DAY,
        Limit(scope="turn", unit="usd", most=100_000),
        Limit(scope="session", unit="usd", most=2_345_678),
        CAP,
    ]
    assert house(5) == [HOUSE]


def test_a_call_may_use_a_budget_to_its_last_millionth_and_no_further() -> None:
    assert fits(DAY, Use(used=800_000, held=80_000), PRICED)
    assert not fits(DAY, Use(used=800_000, held=80_001), PRICED)
    assert fits(CAP, Use(used=48_000), UNPRICED)
    assert not fits(CAP, Use(used=48_001), UNPRICED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    id: str
    all_: list[Limit]
    claim: Claim
    bound: list[Limit] | None


@pytest.mark.parametrize(
    "case",
    [
        Case(id="priced", all_=[HOUSE, DAY, CAP], claim=PRICED, bound=[HOUSE, DAY, CAP]),
        Case(id="unpriced", all_=[DAY], claim=UNPRICED, bound=None),
        Case(id="unpriced, capped", all_=[DAY, CAP], claim=UNPRICED, bound=[CAP]),
        Case(id="unpriced, cap alone", all_=[CAP], claim=UNPRICED, bound=[CAP]),
        Case(id="unpriced, the house's", all_=[HOUSE, CAP], claim=UNPRICED, bound=None),
    ],
    ids=lambda case: case.id,
)
def test_a_cap_on_tokens_stands_in_for_the_agent_s_money_alone(case: Case) -> None:
    assert binding(case.all_, case.claim) == case.bound


@pytest.mark.parametrize(
    ("limit", "use", "said"),
    [
        (
            DAY,
            Use(used=850_000, held=50_000),
            (
                "Agent 'ada' has used $0.85 of $1.00 for today, calls under way hold up to $0.05, and this call may"
                " take up to $0.12. It goes on after midnight; to go on now, raise budget.usd_per_day in its AGENT.md"
                " and send this again."
            ),
        ),
        (
            CAP,
            Use(used=49_000),
            (
                "Agent 'ada' has used 49,000 tokens of 50,000 tokens for today, and this call may take up to"
                " 2,000 tokens. It goes on after midnight; to go on now, raise budget.tokens_per_day in its AGENT.md"
                " and send this again."
            ),
        ),
        (
            HOUSE,
            Use(used=4_990_000),
            (
                "Your agents have used $4.99 of $5.00 for today, and this call may take up to $0.12. It goes on after"
                " midnight; to go on now, set a higher SALVER_BUDGET and restart Salver."
            ),
        ),
        (
            Limit(scope="turn", unit="usd", most=DOLLAR),
            Use(used=DOLLAR),
            (
                "This turn has used $1.00 of $1.00 for one turn, and this call may take up to $0.12. Raise"
                " budget.usd_per_turn in the AGENT.md of 'ada' and send this again, or ask for less at a time."
            ),
        ),
        (
            Limit(scope="session", unit="usd", most=DOLLAR),
            Use(used=DOLLAR),
            (
                "This session has used $1.00 of $1.00 in all, and this call may take up to $0.12. Begin a new session,"
                " or raise budget.usd_per_session in the AGENT.md of 'ada' and send this again."
            ),
        ),
    ],
    ids=lambda value: value.scope + " " + value.unit if isinstance(value, Limit) else "",
)
def test_who_is_refused_is_told_what_is_used_and_how_it_goes_on(
    limit: Limit, use: Use, said: str
) -> None:
    assert over(limit, use, PRICED, ADA) == said


def test_who_is_refused_for_want_of_a_price_is_told_what_to_do() -> None:
    assert unknown(ask(), [DAY], "") == (
        "Nobody knows what 'round' of 'openai-compatible' costs, and the budget of 'ada' is in dollars. Put its"
        " price into prices.toml in the data folder, or add tokens_per_day to that budget; then send this again."
    )
    assert unknown(ask(), [HOUSE, CAP], "") == (
        "Nobody knows what 'round' of 'openai-compatible' costs, and SALVER_BUDGET is in dollars. Put its price"
        " into prices.toml in the data folder; then send this again."
    )
    assert unknown(ask(), [DAY], "prices.toml is not used: so it is. Correct it.") == (
        "Nobody knows what 'round' of 'openai-compatible' costs, and the budget of 'ada' is in dollars."
        " prices.toml is not used: so it is. Correct it."
    )
