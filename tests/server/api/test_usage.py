import pytest

from salver_server.calls import Ask, Tokens
from salver_server.ids import AgentName, CallId, SessionId
from tests.server.api.conftest import House
from tests.server.conftest import SALVER

PRICED = '[[price]]\nprovider = "openai-compatible"\nmodel = "round"\ninput = 10\noutput = 100\n'
SMALL = Tokens(input=1_000, output=100, cache_read=400)
AGENT = "---\nprovider: demo\nbudget:\n  usd_per_day: 1\n  tokens_per_day: 10000\n---\nTalk.\n"


@pytest.fixture(autouse=True)
def _priced(house: House) -> None:
    house.running.rooms.settings.home.joinpath("prices.toml").write_text(PRICED, encoding="utf-8")


async def begin(house: House, session: str, *, turn: int = 1, model: str = "round") -> CallId:
    return await house.running.rooms.ledger.begin(
        Ask(
            session=SessionId(session),
            agent=AgentName(SALVER),
            turn=turn,
            provider="openai-compatible",
            model=model,
            size=0,
            most_output=1_000,
        )
    )


async def call(house: House, session: str, *, turn: int = 1, model: str = "round") -> None:
    """A call that costs $0.02 with the round model."""
    begun = await begin(house, session, turn=turn, model=model)
    await house.running.rooms.ledger.end(begun, status=200, tokens=SMALL)


async def test_nothing_was_called(house: House) -> None:
    found = await house.ask("GET", "/usage")
    assert (found["by"], found["lines"], found["budgets"], found["problem"]) == ("day", [], [], "")
    assert (found["total"]["calls"], found["total"]["cost"]) == (0, 0)
    (price,) = (await house.ask("GET", "/usage/prices"))["prices"]
    date = price.pop("date")
    assert len(date) == len("2026-11-22")
    assert price == {
        "provider": "openai-compatible",
        "model": "round",
        "input": "10",
        "output": "100",
        "cache_read": "10",
        "cache_write": "10",
        "window": 0,
    }


async def test_calls_are_summed_up(house: House) -> None:
    await call(house, "ses-1")
    await call(house, "ses-1", turn=2, model="dark")
    await call(house, "ses-2")
    found = await house.ask("GET", "/usage?by=session&days=7")
    first, second = sorted(found["lines"], key=lambda line: line["session"])
    assert (first["session"], first["agent"], first["day"]) == ("ses-1", SALVER, None)
    assert (first["calls"], first["unpriced"], first["cost"]) == (2, 1, 20_000)
    assert (first["input"], first["output"], first["cache_read"]) == (2_000, 200, 800)
    assert (second["session"], second["cost"]) == ("ses-2", 20_000)
    assert (found["total"]["calls"], found["total"]["cost"]) == (3, 40_000)
    turns = await house.ask("GET", "/usage?by=turn&session=ses-1")
    assert [line["turn"] for line in turns["lines"]] == [1, 2]
    today = found["today"]
    assert (await house.ask("GET", f"/usage?day={today}&agent={SALVER}"))["total"]["calls"] == 3
    assert (await house.ask("GET", "/usage?day=2001-01-01"))["lines"] == []


@pytest.mark.parametrize("query", ["by=moon", "day=today", "days=0", "most=0"])
async def test_what_can_not_be_asked_is_refused(house: House, query: str) -> None:
    status, kind, _ = await house.refused("GET", f"/usage?{query}")
    assert (status, kind) == (422, "Rejected")


async def test_what_is_left_of_today_s_budgets_is_seen(house: House) -> None:
    await house.ask("PUT", f"/agents/{SALVER}", {"text": AGENT})
    await call(house, "ses-1")
    await begin(house, "ses-1")
    money, tokens = (await house.ask("GET", "/usage"))["budgets"]
    assert money == {
        "agent": SALVER,
        "unit": "usd",
        "most": 1_000_000,
        "used": 20_000,
        "held": 110_000,
        "left": 870_000,
    }
    assert (tokens["unit"], tokens["used"], tokens["left"]) == ("tokens", 1_100, 6_900)


async def test_a_session_and_its_messages_show_what_they_cost(house: House) -> None:
    sent = await house.say("hello")
    session = sent["session"]
    await house.answer(sent, "hi")
    await house.state(sent["id"], until="delivered")
    await call(house, session, turn=1)
    await call(house, session, turn=2)
    await begin(house, session, turn=1)
    await house.write(lambda _: None)  # without a budget nobody has waited for it
    found = await house.ask("GET", f"/sessions/{session}")
    assert (found["spent"]["calls"], found["spent"]["cost"]) == (2, 40_000)
    (message,) = found["messages"]
    assert message["turn"] == 1
    assert message["spent"]["cost"] == 20_000
    assert (message["spent"]["calls"], message["spent"]["running"]) == (2, 1)


async def test_the_price_of_any_model_can_be_asked_for(house: House) -> None:
    found = (await house.ask("GET", "/usage/prices?model=gpt-4o-mini"))["prices"]
    (price,) = [it for it in found if (it["provider"], it["model"]) == ("openai", "gpt-4o-mini")]
    assert (price["input"], price["output"], price["window"]) == ("0.15", "0.6", 128_000)
    await call(house, "ses-1", model="dark")
    lately = (await house.ask("GET", "/usage/prices"))["prices"]
    assert [(it["model"], it["input"]) for it in lately] == [("round", "10"), ("dark", None)]


async def test_prices_that_can_not_be_used_are_said(house: House) -> None:
    path = house.running.rooms.settings.home / "prices.toml"
    path.write_text("[[price]]\nmodel = 3\n", encoding="utf-8")
    problem = (await house.ask("GET", "/usage/prices"))["problem"]
    assert problem.startswith(f"{path} is not used: field 'price.0.provider'")
    assert (await house.ask("GET", "/usage"))["problem"] == problem
