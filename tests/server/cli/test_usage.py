import pytest

from salver_server.app import Running
from salver_server.calls import Ask, Tokens
from salver_server.ids import AgentName, SessionId
from tests.server.cli.conftest import Shell, write
from tests.server.conftest import SALVER

PRICED = """\
[[price]]
provider = "openai-compatible"
model = "round"
input = 10
output = 100
date = 2026-11-01
"""
AGENT = "---\nprovider: demo\nbudget: {usd_per_day: 1, tokens_per_day: 90000}\n---\nTalk.\n"
SMALL = Tokens(input=1_000, output=100, cache_read=400)


async def call(
    house: Running,
    *,
    session: str = "ses-1",
    agent: AgentName = SALVER,
    model: str = "round",
    told: bool = True,
) -> None:
    """A call, which costs $0.02 with the round model."""
    house.rooms.settings.home.joinpath("prices.toml").write_text(PRICED, encoding="utf-8")
    begun = await house.rooms.ledger.begin(
        Ask(
            session=SessionId(session),
            agent=agent,
            turn=3,
            provider="openai-compatible",
            model=model,
            size=0,
            most_output=1_000,
        )
    )
    await house.rooms.ledger.end(begun, status=200, tokens=SMALL if told else None)


@pytest.mark.usefixtures("house")
async def test_where_nothing_was_called_that_is_said(shell: Shell) -> None:
    assert await shell.ok("usage") == "No model was called in these 30 days.\n"
    assert await shell.ok("usage", "--session", "ses-1") == "No model was called there.\n"
    assert await shell.ok("usage", "prices") == (
        "No model was called lately. `salver usage prices MODEL` shows what one costs.\n"
    )
    assert (await shell.ok("usage", "prices", "no-such-model")).startswith(
        "No model is known whose name holds 'no-such-model'."
    )


async def test_a_day_that_is_none_is_refused_in_words(shell: Shell) -> None:
    refused = await shell.run("usage", "--day", "tomorrow")
    assert refused.code == 2
    assert "'tomorrow' does not match the format '%Y-%m-%d'" in refused.err
    assert (await shell.run("usage", "--day", "2026-02-31")).code == 2


async def test_calls_of_nobody_are_called_tests_and_the_sum_has_no_names(
    house: Running, shell: Shell
) -> None:
    await call(house, agent=AgentName(""))
    lines = (await shell.ok("usage", "--by", "session")).splitlines()
    assert lines[1].split()[:3] == ["ses-1", "(tests)", "1"]
    assert lines[2].split()[:2] == ["total", "1"]


async def test_a_table_shows_what_calls_took_and_its_last_line_the_sum(
    house: Running, shell: Shell
) -> None:
    await call(house)
    await call(house)
    lines = (await shell.ok("usage", "--by", "model")).splitlines()
    assert [line.split() for line in lines] == [
        ["provider", "model", "calls", "failed", "input", "cached", "output", "cost"],
        ["openai-compatible", "round", "2", "0", "2000", "800", "200", "$0.04"],
        ["total", "2", "0", "2000", "800", "200", "$0.04"],
    ]
    (found,) = (await shell.run("usage", "--by", "session", "--json")).json["lines"]
    assert (found["session"], found["cost"]) == ("ses-1", 40_000)


async def test_every_way_to_sum_up_has_its_table(house: Running, shell: Shell) -> None:
    await call(house)
    for by in ("day", "agent", "model", "session", "turn", "call"):
        lines = (await shell.ok("usage", "--by", by)).splitlines()
        assert (len(lines), lines[-1].split()[0]) == (3, "total")


async def test_what_is_not_known_is_not_passed_off_as_nothing(house: Running, shell: Shell) -> None:
    await call(house, model="dark")
    dark = (await shell.ok("usage")).splitlines()
    assert dark[-2].split()[-1] == "?"
    assert dark[-1].startswith("Nobody knows what 1 of these calls cost:")
    await call(house)
    await call(house, told=False)
    mixed = (await shell.ok("usage")).splitlines()
    assert mixed[-3].endswith("≥ $0.02")
    assert mixed[-1].startswith("Calls that were cut off: 1.")


async def test_what_is_left_of_budgets_is_said(house: Running, shell: Shell) -> None:
    await shell.ok("agents", "edit", SALVER, "--file", "-", stdin=AGENT)
    await call(house)
    assert (await shell.ok("usage")).splitlines()[-2:] == [
        f"Agent '{SALVER}' used $0.02 of $1.00 today; $0.98 left.",
        f"Agent '{SALVER}' used 1,100 tokens of 90,000 tokens today; 88,900 tokens left.",
    ]


async def test_prices_are_shown_with_their_date(house: Running, shell: Shell) -> None:
    await call(house, model="dark")
    lines = [line.split() for line in (await shell.ok("usage", "prices")).splitlines()]
    assert lines[1:] == [
        ["openai-compatible", "round", "10", "10", "10", "100", "2026-11-01"],
        ["openai-compatible", "dark", "?", "?", "?", "?", "?"],
    ]
    vendors = await shell.ok("usage", "prices", "gpt-4o-mini")
    assert "0.15" in vendors
    assert (await shell.run("usage", "prices", "round", "--json")).json["problem"] == ""


async def test_prices_that_can_not_be_used_are_told(house: Running, shell: Shell) -> None:
    house.rooms.settings.home.joinpath("prices.toml").write_text("[[price", encoding="utf-8")
    done = await shell.run("usage", "prices")
    assert done.code == 0
    assert "prices.toml is not used: it is no TOML" in done.err
    assert "prices.toml is not used: it is no TOML" in (await shell.run("usage")).out


async def test_a_day_and_days_can_not_both_be_asked_for(shell: Shell) -> None:
    done = await shell.run("usage", "--day", "2026-11-22", "--days", "3")
    assert (done.code, done.err) == (2, "salver: Choose one of --day and --days.\n")


async def test_a_session_shows_what_it_cost(shell: Shell, stopped: Running) -> None:
    _, session = await write(stopped)
    assert len((await shell.ok("sessions", "show", session)).splitlines()) == 2
    await call(stopped, session=session)
    await call(stopped, session=session, model="dark")
    _, cost, _ = (await shell.ok("sessions", "show", session)).splitlines()
    assert cost == "model calls 2, cost ≥ $0.02"
