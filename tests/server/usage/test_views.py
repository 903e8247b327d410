from salver_server.agents import Budget
from salver_server.calls import Tokens
from salver_server.ids import SessionId
from salver_server.usage import views
from salver_server.usage.days import Day
from salver_server.usage.views import Asked, By, Line, Sums
from tests.server.usage.conftest import ADA, BOB, SESSION, Till, ask

SMALL = Tokens(input=1_000, output=100)
OTHER = SessionId("ses-2")
EVER = Asked(since=Day("0000"), until=Day("9999"))


def paid(calls: int, **more: int) -> Sums:
    """So many small calls of the round model."""
    return Sums(calls=calls, input=1_000 * calls, output=100 * calls, cost=20_000 * calls, **more)


async def seen(till: Till, by: By, asked: Asked = EVER, *, most: int = 100) -> list[Line]:
    return await till.database.read(lambda conn: views.lines(conn, by, asked, most=most))


async def summed(till: Till, by: By, asked: Asked = EVER) -> Sums:
    return await till.database.read(lambda conn: views.total(conn, by, asked))


async def busy(till: Till) -> tuple[Day, Day]:
    """Two days, two agents with a session each, two models; the two days."""
    await till.call(ask(turn=1), SMALL)
    await till.call(ask(turn=1), SMALL)
    first = till.ledger.today()
    till.clock.advance(86400)
    await till.call(ask(turn=2), SMALL)
    await till.call(ask(agent=BOB, session=OTHER, provider="ollama", model="llama"), SMALL)
    return first, till.ledger.today()


async def test_nothing_is_seen_where_nothing_was_called(till: Till) -> None:
    for by in views.NAMES:
        assert await seen(till, by) == []
        assert await summed(till, by) == Sums()


async def test_calls_are_summed_up_by_whatever_is_asked_for(till: Till) -> None:
    first, second = await busy(till)
    free = Sums(calls=1, input=1_000, output=100)
    both = Sums(calls=2, input=2_000, output=200, cost=20_000)
    assert await seen(till, "day") == [Line(day=first, sums=paid(2)), Line(day=second, sums=both)]
    assert {(line.agent, line.sums) for line in await seen(till, "agent")} == {
        (ADA, paid(3)),
        (BOB, free),
    }
    assert {(line.provider, line.model, line.sums) for line in await seen(till, "model")} == {
        ("openai-compatible", "round", paid(3)),
        ("ollama", "llama", free),
    }
    assert {(line.session, line.agent, line.sums) for line in await seen(till, "session")} == {
        (SESSION, ADA, paid(3)),
        (OTHER, BOB, free),
    }
    turns = [(line.session, line.turn, line.sums) for line in await seen(till, "turn")]
    assert turns == [(SESSION, 1, paid(2)), (SESSION, 2, paid(1)), (OTHER, 1, free)]
    calls = await seen(till, "call")
    assert [(line.call, line.status) for line in calls] == [(n, 200) for n in (1, 2, 3, 4)]
    for by in views.NAMES:
        total = Sums(calls=4, input=4_000, output=400, cost=60_000)
        assert await summed(till, by) == total


async def test_one_day_one_session_or_one_agent_can_be_asked_for(till: Till) -> None:
    first, second = await busy(till)
    assert await summed(till, "day", Asked(since=first, until=first)) == paid(2)
    assert (await summed(till, "call", Asked(since=second, until=second))).calls == 2
    for by in views.NAMES:
        of_bob = Asked(since=EVER.since, until=EVER.until, agent=BOB)
        of_ada = Asked(since=EVER.since, until=EVER.until, session=SESSION)
        assert (await summed(till, by, of_bob)).calls == 1
        assert await summed(till, by, of_ada) == paid(3)


async def test_the_latest_are_shown_and_all_are_summed_up(till: Till) -> None:
    await busy(till)
    assert [line.call for line in await seen(till, "call", most=2)] == [3, 4]
    assert (await summed(till, "call")).calls == 4


async def test_a_turn_shows_what_it_took_while_it_still_runs(till: Till) -> None:
    await till.call(ask(), SMALL)
    await till.ledger.begin(ask())
    await till.written()
    turns = await till.database.read(lambda conn: views.of_turns(conn, SESSION, most=10))
    running = Sums(calls=2, running=1, input=1_000, output=100, cost=20_000)
    assert turns == {1: running}
    session = await till.database.read(lambda conn: views.of_session(conn, SESSION))
    assert session == paid(1)


async def test_what_failed_was_cut_off_or_has_no_price_is_told_apart(till: Till) -> None:
    await till.call(ask(), None, status=429)
    await till.call(ask(), None, status=499)
    await till.call(ask(model="dark"), SMALL)
    for by in ("day", "turn", "call"):
        assert await summed(till, by) == Sums(
            calls=3, failed=1, untold=1, unpriced=2, input=1_000, output=100
        )


async def test_what_was_called_lately_is_known_by_name(till: Till) -> None:
    first, second = await busy(till)
    both = await till.database.read(lambda conn: views.called_since(conn, first))
    assert both == [("ollama", "llama"), ("openai-compatible", "round")]
    later = Day("9999-01-01")
    assert await till.database.read(lambda conn: views.called_since(conn, later)) == []
    assert second > first


async def test_no_everyday_question_searches_what_is_long_over(till: Till) -> None:
    """A reservation looks at its day, its session and what is open; never at all that ever was."""
    plans: list[str] = []

    def explain(sql: str) -> None:
        if sql.startswith("SELECT (SELECT"):
            plans.append(sql)

    till.house = 5
    till.budgets[ADA] = Budget(
        usd_per_day=1, usd_per_turn=1, usd_per_session=1, tokens_per_day=9_999
    )
    await till.open()
    await till.database.write(lambda conn: conn.set_trace_callback(explain))
    await till.call(ask(), SMALL)
    assert len(plans) == 5
    for sql in plans:
        rows = await till.database.read(
            lambda conn, sql=sql: conn.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
        )
        assert [
            row[3] for row in rows if row[3].startswith("SCAN ") and "CONSTANT" not in row[3]
        ] == []
