"""The ledger as the gateway's meter: real sockets, a scripted model, and money."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from salver_server.agents import Budget
from salver_server.clock import SystemClock
from salver_server.gateway import open_gateway, token_hash
from tests.fakes.model import ScriptedModel
from tests.fakes.upstream import FakeUpstream
from tests.server.gateway.conftest import CHAT, TOKEN, asking, sandbox
from tests.server.usage.conftest import ADA, SESSION, Till

LONG = {"max_tokens": 1_000}


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as model:
        yield model


@pytest.fixture
async def client(till: Till, model: ScriptedModel) -> AsyncIterator[httpx2.AsyncClient]:
    """A sandbox of Ada's whose calls the till is told of."""
    with tempfile.TemporaryDirectory(prefix="line-") as folder:
        path = Path(folder) / "door"
        async with open_gateway(SystemClock(), meter=till.ledger) as gateway:
            await gateway.open(
                SESSION,
                path,
                agent=ADA,
                token_hash=token_hash(TOKEN),
                upstreams=[FakeUpstream(url=model.url)],
            )
            async with sandbox(path) as client:
                yield client


async def test_what_the_vendor_counted_is_what_a_call_cost(
    till: Till, client: httpx2.AsyncClient
) -> None:
    answer = await client.post(CHAT, json=asking("!say one two"), headers={"x-salver-turn": "4"})
    assert answer.status_code == 200
    [(session, agent, turn, provider, model, input_, output, cost)] = await till.rows(
        "session, agent, turn, provider, model, input, output, cost"
    )
    assert (session, agent, turn, provider, model) == (SESSION, ADA, 4, "openai", "scripted")
    assert isinstance(input_, int)
    assert isinstance(output, int)
    assert cost == input_ * 10 + output * 100 > 0


async def test_a_call_that_no_budget_is_left_for_reaches_no_vendor(
    till: Till, client: httpx2.AsyncClient, model: ScriptedModel
) -> None:
    till.budgets[ADA] = Budget(usd_per_day=0.05)
    answer = await client.post(CHAT, json=asking("hello") | LONG)
    assert (answer.status_code, answer.headers["x-salver-code"]) == (402, "over_budget")
    assert answer.json()["error"]["message"].startswith("Agent 'ada' has used $0.00 of $0.05")
    assert model.requests == []
    till.budgets[ADA] = Budget(usd_per_day=0.5)
    assert (await client.post(CHAT, json=asking("hello") | LONG)).status_code == 200


async def test_a_call_that_nobody_knows_the_price_of_reaches_no_vendor(
    till: Till, client: httpx2.AsyncClient, model: ScriptedModel
) -> None:
    till.budgets[ADA] = Budget(usd_per_day=5)
    answer = await client.post(CHAT, json=asking("hello") | {"model": "dark"})
    assert (answer.status_code, answer.headers["x-salver-code"]) == (402, "price_unknown")
    assert model.requests == []


async def test_what_the_vendor_refused_costs_nothing(
    till: Till, client: httpx2.AsyncClient
) -> None:
    till.budgets[ADA] = Budget(usd_per_day=5)
    answer = await client.post(CHAT, json=asking("!fail 429"))
    assert answer.status_code == 429
    assert await till.rows("status, cost") == [(429, 0)]


async def test_an_answer_that_is_cut_off_costs_what_it_had_reserved(
    till: Till, client: httpx2.AsyncClient
) -> None:
    till.budgets[ADA] = Budget(usd_per_day=5)
    with pytest.raises(httpx2.RemoteProtocolError):
        await client.post(CHAT, json=asking("!cut") | LONG)
    [(status, reserved, cost)] = await till.rows("status, reserved, cost")
    assert status == 200
    assert cost == reserved
