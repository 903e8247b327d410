import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from sqlite3 import Connection

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salver_server.agents import Budget
from salver_server.calls import OverBudget, PriceUnknown, Tokens
from salver_server.clock import Stamp
from salver_server.ids import CallId, SessionId
from salver_server.usage import store
from salver_server.usage.budgets import Limit, Use
from salver_server.usage.store import MOST_MODELS, OTHERS
from tests.server.usage.conftest import ADA, BOB, DOLLAR, Till, ask

SMALL = Tokens(input=1_000, output=100)
"""Of the round model: $0.02."""
DAY = Limit(scope="day", unit="usd", most=0)
HOUSE = Limit(scope="house", unit="usd", most=0)
TURN = Limit(scope="turn", unit="usd", most=0)
IN_SESSION = Limit(scope="session", unit="usd", most=0)
CAP = Limit(scope="day", unit="tokens", most=0)


async def test_a_call_is_on_record_with_what_it_took(till: Till) -> None:
    took = Tokens(input=1_000, output=100, cache_read=300, cache_write=200)
    await till.call(ask(turn=7), took)
    assert await till.rows(
        "session, agent, turn, provider, model, day, status, input, output, cache_read, cache_write, reserved, cost"
    ) == [
        ("ses-1", "ada", 7, "openai-compatible", "round", till.ledger.today(), 200, 1000, 100, 300, 200, None, 500 * 10 + 300 * 1 + 200 * 20 + 100 * 100)
    ]  # fmt: skip
    [(date,)] = await till.rows("price_date")
    assert date is not None


async def test_without_a_budget_nobody_waits_for_the_record(till: Till) -> None:
    began = till.ledger.begin(ask())
    with pytest.raises(StopIteration):
        began.send(None)  # it came to its end without ever waiting
    [(ended,)] = await till.rows("ended_at")
    assert ended is None


async def test_a_call_is_known_by_a_number_of_its_own_also_after_a_restart(till: Till) -> None:
    first, second = await till.call(ask(), SMALL), await till.call(ask(), SMALL)
    await till.open()
    third = await till.call(ask(), SMALL)
    assert len({first, second, third}) == 3


# Budgets


async def test_a_reservation_is_on_record_before_the_call_is_made(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_day=1)
    call = await till.ledger.begin(ask())
    assert await till.rows("reserved, reserved_tokens, ended_at") == [(120_000, 2_000, None)]
    assert await till.used(DAY) == Use(used=0, held=120_000)
    await till.ledger.end(call, status=200, tokens=SMALL)
    assert await till.used(DAY) == Use(used=20_000, held=0)


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        (Budget(usd_per_day=0.13), DAY),
        (Budget(usd_per_turn=0.13), TURN),
        (Budget(usd_per_session=0.13), IN_SESSION),
        (Budget(tokens_per_day=2_500), CAP),
    ],
    ids=["day", "turn", "session", "tokens"],
)
async def test_a_call_that_might_go_beyond_a_budget_is_not_made(
    till: Till, budget: Budget, limit: Limit
) -> None:
    till.budgets[ADA] = budget
    await till.call(ask(), SMALL)
    with pytest.raises(OverBudget):
        await till.ledger.begin(ask())
    assert len(await till.rows("id")) == 1
    assert (await till.used(limit)).held == 0


async def test_each_budget_is_about_its_own(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_turn=0.13)
    await till.call(ask(turn=1), SMALL)
    await till.call(ask(turn=2), SMALL)
    till.budgets[ADA] = Budget(usd_per_session=0.13)
    await till.call(ask(session=SessionId("ses-2")), SMALL)
    till.budgets = {BOB: Budget(usd_per_day=0.13)}
    await till.call(ask(agent=BOB, session=SessionId("ses-3")), SMALL)


async def test_the_house_s_budget_is_about_all_agents(till: Till) -> None:
    till.house = 0.13
    await till.open()
    await till.call(ask(), SMALL)
    with pytest.raises(OverBudget, match=r"^Your agents have used \$0.02 of \$0.13 for today"):
        await till.ledger.begin(ask(agent=BOB, session=SessionId("ses-2")))


async def test_a_budget_that_was_raised_counts_at_once(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_day=0.13)
    await till.call(ask(), SMALL)
    with pytest.raises(OverBudget):
        await till.ledger.begin(ask())
    till.budgets[ADA] = Budget(usd_per_day=0.14)
    await till.call(ask(), SMALL)


async def test_a_new_day_has_its_whole_budget(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_day=0.13)
    await till.call(ask(), SMALL)
    till.clock.advance(86400)
    await till.call(ask(), SMALL)


async def test_a_call_belongs_to_the_day_on_which_it_began(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_day=0.13)
    till.clock.set(datetime(2026, 11, 22, 12, tzinfo=UTC))
    call, day = await till.ledger.begin(ask()), till.ledger.today()
    till.clock.advance(86400)
    await till.ledger.end(call, status=200, tokens=SMALL)
    assert await till.rows("day, cost", "usage_days") == [(day, 20_000)]
    assert await till.used(DAY) == Use()


async def test_a_turn_of_the_same_number_long_ago_is_another_turn(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_turn=0.13)
    await till.call(ask(), SMALL)
    till.clock.advance(86401)
    await till.call(ask(), SMALL)


async def test_where_nobody_knows_the_price_money_lets_nothing_through(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_day=100)
    with pytest.raises(
        PriceUnknown, match=r"^Nobody knows what 'dark' of 'openai-compatible' costs"
    ):
        await till.ledger.begin(ask(model="dark"))
    till.budgets[ADA] = Budget(usd_per_day=100, tokens_per_day=3_000)
    await till.call(ask(model="dark"), SMALL)
    with pytest.raises(OverBudget):
        await till.ledger.begin(ask(model="dark"))


async def test_what_is_free_needs_no_price_and_goes_by_no_budget_in_money(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_day=0.0001)
    await till.call(ask(provider="ollama", model="llama3.2", size=10**6), SMALL)
    till.local = True
    await till.call(ask(model="at home", size=10**6), SMALL)
    assert await till.used(DAY) == Use()


async def test_a_sandbox_s_numbers_make_no_room_in_a_budget(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_day=0.5)
    for size, most_output in ((-(10**30), -(10**30)), (10**30, 10**30)):
        with pytest.raises(OverBudget):
            await till.ledger.begin(ask(size=size, most_output=most_output, turn=10**30))
    till.budgets[ADA] = Budget()
    long = ask(size=10**30, turn=-(10**30), model="m" * 10**6)
    await till.call(long, Tokens(input=10**30, output=-1))
    [(turn, length, output)] = await till.rows("turn, length(model), output")
    assert (turn, length, output) == (0, 200, 0)


async def test_standing_tells_the_budgets_of_today(till: Till) -> None:
    till.house = 2
    till.budgets[BOB] = Budget(usd_per_day=1, usd_per_turn=1, tokens_per_day=9_000)
    await till.open()
    await till.call(ask(agent=BOB), SMALL)
    await till.ledger.begin(ask(session=SessionId("ses-2")))
    found = await till.ledger.standing([ADA, BOB])
    assert [(it.agent, it.limit.scope, it.limit.unit, it.limit.most, it.use) for it in found] == [
        ("", "house", "usd", 2 * DOLLAR, Use(used=20_000, held=120_000)),
        ("bob", "day", "usd", DOLLAR, Use(used=20_000)),
        ("bob", "day", "tokens", 9_000, Use(used=1_100)),
    ]


# Ends that are not whole


@pytest.mark.parametrize("status", [400, 401, 429, 500, 502, 503])
async def test_what_the_vendor_did_not_answer_costs_nothing(till: Till, status: int) -> None:
    till.budgets[ADA] = Budget(usd_per_day=1)
    await till.call(ask(), None, status=status)
    assert await till.used(DAY) == Use()
    assert await till.rows("failed, untold, unpriced", "usage_days") == [(1, 0, 0)]


@pytest.mark.parametrize("status", [200, 499, 504])
async def test_what_was_cut_off_costs_what_it_had_reserved(till: Till, status: int) -> None:
    till.budgets[ADA] = Budget(usd_per_day=1, tokens_per_day=10_000)
    await till.call(ask(), None, status=status)
    assert await till.used(DAY) == Use(used=120_000)
    assert await till.used(TURN) == Use(used=120_000)
    assert await till.used(CAP) == Use(used=2_000)
    assert await till.rows("failed, untold, unpriced", "usage_days") == [(0, 1, 0)]


async def test_what_was_cut_off_without_a_budget_has_no_known_cost(till: Till) -> None:
    await till.call(ask(), None)
    assert await till.rows("untold, unpriced, cost", "usage_days") == [(1, 1, 0)]


async def test_calls_that_were_under_way_when_the_server_died_are_settled_at_the_next_start(
    till: Till,
) -> None:
    await till.ledger.begin(ask())
    till.budgets[ADA] = Budget(usd_per_day=1)
    await till.ledger.begin(ask())
    for _ in range(2):
        await till.open()
        assert await till.used(DAY) == Use(used=120_000)
        assert await till.rows("calls, failed, untold, unpriced", "usage_days") == [(2, 0, 2, 1)]
    assert await till.rows("cost, status, ended_at IS NULL") == [
        (None, None, 0),
        (120_000, None, 0),
    ]


async def test_who_gives_up_while_money_is_reserved_holds_none(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_day=1)
    giving_up = asyncio.get_running_loop().create_task(till.ledger.begin(ask()))
    await asyncio.sleep(0)
    giving_up.cancel()
    with suppress(asyncio.CancelledError):
        await giving_up
    assert await till.rows("id") == []


async def test_an_end_whose_caller_is_cancelled_is_written_all_the_same(till: Till) -> None:
    call = await till.ledger.begin(ask())
    ending = asyncio.get_running_loop().create_task(till.ledger.end(call, status=200, tokens=SMALL))
    await asyncio.sleep(0)
    ending.cancel()
    with suppress(asyncio.CancelledError):
        await ending
    assert await till.rows("cost", "usage_days") == [(20_000,)]


async def test_what_can_not_be_put_on_record_is_not_made(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_day=1)
    await till.database.write(break_)
    with pytest.raises(OverBudget, match=r"^The model was not asked: .* Free some disk space"):
        await till.ledger.begin(ask())


async def test_without_a_budget_a_broken_record_is_said_and_keeps_no_call_back(
    till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    await till.database.write(break_)
    await till.call(ask(), SMALL)
    assert [record.message for record in caplog.records] == [
        "the beginning of a model call was not put on record",
        "the end of a model call was not put on record",
    ]


def break_(conn: Connection) -> None:
    conn.execute("ALTER TABLE model_calls RENAME TO broken")


async def test_old_calls_are_forgotten_and_their_days_stay(till: Till) -> None:
    await till.call(ask(), SMALL)
    till.clock.advance(400 * 86400 + 1)
    await till.call(ask(), SMALL)
    assert len(await till.rows("id")) == 1
    assert [row[0] for row in await till.rows("calls", "usage_days")] == [1, 1]


async def test_calls_that_are_too_many_are_forgotten_by_their_number(till: Till) -> None:
    calls = [await till.call(ask(), SMALL) for _ in range(5)]
    under_way = await till.ledger.begin(ask())
    await till.database.write(lambda conn: store.forget(conn, before=Stamp(""), upto=calls[2]))
    assert [row[0] for row in await till.rows("id")] == [*calls[3:], under_way]
    assert await till.rows("calls", "usage_days") == [(5,)]


async def test_models_that_a_sandbox_makes_up_are_summed_up_together(till: Till) -> None:
    await till.call(ask(model="0"), SMALL)
    for number in range(MOST_MODELS + 5):
        await till.call(ask(model=f"{number}"), None, status=404)
    rows = {row[0]: row[1] for row in await till.rows("model, calls", "usage_days")}
    assert len(rows) == MOST_MODELS + 1
    assert (rows["0"], rows["1"], rows[OTHERS]) == (2, 1, 5)


# Whatever the order


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
async def test_reservations_never_let_the_sum_pass_the_budget(
    till: Till, data: st.DataObject
) -> None:
    """Calls begin and end in any order, some never; each takes at most what it had reserved."""
    await till.database.write(lambda conn: [conn.execute(f"DELETE FROM {t}") for t in TABLES])
    most = data.draw(st.integers(1, 2_000_000), label="budget")
    till.budgets[ADA] = Budget(usd_per_day=most / DOLLAR)
    await till.open()
    under_way: dict[CallId, int] = {}
    for _ in range(data.draw(st.integers(1, 25), label="steps")):
        if under_way and data.draw(st.booleans(), label="one ends"):
            call = data.draw(st.sampled_from(sorted(under_way)), label="which")
            limit = under_way.pop(call)
            await till.ledger.end(
                call,
                status=data.draw(st.sampled_from([200, 499, 500]), label="status"),
                tokens=data.draw(
                    st.none()
                    | st.builds(Tokens, input=st.integers(0, 1_000), output=st.integers(0, limit)),
                    label="tokens",
                ),
            )
        else:
            limit = data.draw(st.integers(1, 5_000), label="output")
            with suppress(OverBudget):
                under_way[await till.ledger.begin(ask(most_output=limit))] = limit
        use = await till.used(DAY)
        assert use.used + use.held <= most
    await till.open()
    assert (await till.used(DAY)).used <= most
    assert (await till.used(DAY)).held == 0


async def test_many_calls_at_once_are_let_out_only_as_far_as_the_budget_goes(till: Till) -> None:
    till.budgets[ADA] = Budget(usd_per_day=1)
    asked = [till.ledger.begin(ask()) for _ in range(20)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert len([it for it in done if isinstance(it, OverBudget)]) == 12
    assert await till.used(DAY) == Use(held=960_000)


TABLES = ("model_calls", "usage_days")
