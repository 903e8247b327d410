"""Money: every call is on record before it goes out, and is ended however it ends."""

import asyncio
import json
from pathlib import Path

import httpx2
import pytest

from salver_server import gateway as room
from salver_server.calls import Ask, OverBudget, PriceUnknown, Tokens
from salver_server.errors import NeedsUser
from salver_server.ids import AgentName, SessionId
from tests.fakes.model import ScriptedModel
from tests.fakes.upstream import FakeUpstream
from tests.server.gateway.answers import ANSWERS, Answer
from tests.server.gateway.conftest import (
    CHAT,
    House,
    Vendor,
    asking,
    rude,
    sandbox,
    saying,
    selling,
)
from tests.server.gateway.test_gateway import request

PATHS = {
    "chat": "/openai/chat/completions",
    "responses": "/openai/responses",
    "google": "/openai/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    "anthropic": "/openai/v1/messages",
}


async def test_a_call_is_on_record_before_it_goes_out(house: House, door: Path) -> None:
    body = asking("!say hello") | {"max_tokens": 77}
    async with sandbox(door) as client:
        await client.post(CHAT, json=body, headers={"x-salver-turn": "12"})
    ended = await house.meter.over(1)
    (ask,) = house.meter.begun
    assert ask == Ask(
        session=SessionId("s-1"),
        agent=AgentName("salver"),
        turn=12,
        provider="openai",
        model="scripted",
        size=ask.size,
        most_output=77,
    )
    assert ask.size >= len(json.dumps(body, separators=(",", ":")))
    assert (ended.status, ended.tokens) == (200, Tokens(input=2, output=1))


@pytest.mark.parametrize("turn", ["", "-1", "1.5", "x", "1" * 30, "٣"])
async def test_a_turn_that_is_no_number_is_none(house: House, door: Path, turn: str) -> None:
    async with sandbox(door) as client:
        await client.post(
            CHAT, json=asking("!say hello"), headers=[(b"x-salver-turn", turn.encode())]
        )
    assert (await house.meter.over(1)).ask.turn == 0


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.id)
async def test_an_answer_passes_unchanged_and_its_tokens_are_metered(
    house: House, answer: Answer
) -> None:
    vendor = Vendor(answer=answer.text, content_type=answer.content_type)
    body = {} if answer.wire == "google" else {"model": "m", "stream": True}
    async with selling(vendor):
        door = await house.door(FakeUpstream(url=vendor.url, wire=answer.wire))
        async with sandbox(door) as client:
            came = await client.post(PATHS[answer.wire], json=body)
    assert came.content == answer.text
    assert came.headers["content-type"] == answer.content_type
    assert (await house.meter.over(1)).tokens == answer.tokens


async def test_a_client_cannot_keep_a_stream_from_telling_its_tokens(
    house: House, door: Path, model: ScriptedModel
) -> None:
    hiding = {"stream_options": {"include_usage": False}}
    async with sandbox(door) as client:
        await client.post(CHAT, json=asking("!say hello") | hiding)
    assert model.requests[0].body["stream_options"] == {"include_usage": True}
    assert (await house.meter.over(1)).tokens is not None


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (OverBudget("The budget of 'salver' for today is spent. Raise it."), "over_budget"),
        (PriceUnknown("Nobody knows what 'scripted' costs. Set its price."), "price_unknown"),
    ],
)
async def test_a_call_that_may_not_be_paid_for_reaches_nobody(
    house: House, door: Path, model: ScriptedModel, refusal: NeedsUser, code: str
) -> None:
    house.meter.refusal = refusal
    async with sandbox(door) as client:
        answer = await client.post(CHAT, json=asking("!say hello"))
    assert answer.status_code == 402
    assert answer.headers["x-salver-code"] == code
    assert answer.json()["error"]["message"] == str(refusal)
    assert answer.json()["error"]["code"] == code
    assert model.requests == []
    assert house.meter.ended == []


async def test_what_is_refused_or_asks_no_model_is_no_call(
    house: House, door: Path, model: ScriptedModel
) -> None:
    async with sandbox(door) as client:
        await client.post("/elsewhere", json={})
        await client.post(CHAT, json=asking("!say hello") | {"n": 3})
        await client.post(CHAT, content=b"[]")
        assert (await client.get("/openai/models")).status_code == 200
    assert house.meter.begun == []
    assert [one.path for one in model.requests] == ["/v1/models"]


@pytest.mark.parametrize("status", [400, 403, 429, 500])
async def test_an_error_of_the_vendor_ends_the_call_without_tokens(
    house: House, door: Path, status: int
) -> None:
    async with sandbox(door) as client:
        await client.post(CHAT, json=asking(f"!fail {status}"))
    ended = await house.meter.over(1)
    assert (ended.status, ended.tokens) == (status, None)


async def test_an_answer_that_breaks_off_ends_the_call_without_tokens(
    house: House, door: Path
) -> None:
    async with sandbox(door) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.post(CHAT, json=asking("!cut"))
    ended = await house.meter.over(1)
    assert (ended.status, ended.tokens) == (200, None)


async def test_an_upstream_that_is_not_there_ends_the_call(house: House) -> None:
    async with rude(saying("")) as url:
        door = await house.door(FakeUpstream(url=url))
        async with sandbox(door) as client:
            await client.post(CHAT, json=asking("!say hello"))
    ended = await house.meter.over(1)
    assert (ended.status, ended.tokens) == (502, None)


async def test_a_sandbox_that_hangs_up_ends_the_call(house: House, door: Path) -> None:
    async with (
        sandbox(door) as client,
        client.stream("POST", CHAT, json=asking("!hold")),
    ):
        pass
    ended = await house.meter.over(1)
    assert (ended.status, ended.tokens) == (200, None)


async def test_closing_a_session_ends_its_calls(house: House, door: Path) -> None:
    async with sandbox(door) as client, client.stream("POST", CHAT, json=asking("!hold")):
        await house.gateway.close(SessionId("s-1"))
        assert [ended.status for ended in house.meter.ended] == [200]


async def test_a_call_that_is_given_up_before_it_went_out_is_ended_as_such(house: House) -> None:
    class Slow(FakeUpstream):
        async def key(self) -> None:
            wanted.set()
            await asyncio.Event().wait()

    wanted = asyncio.Event()
    door = await house.door(Slow(url="https://api.test"))
    _, writer = await asyncio.open_unix_connection(str(door))
    writer.write(request())
    await wanted.wait()
    await house.gateway.close_all()
    writer.close()
    assert [ended.status for ended in house.meter.ended] == [room.GIVEN_UP]
