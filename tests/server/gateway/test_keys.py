"""The session's token on the way in, the owner's key on the way out."""

import json
from pathlib import Path

import pytest

from salver_server.calls import Wire
from salver_server.errors import Missing, NeedsUser, SalverError, Transient
from tests.fakes.model import KEY, ScriptedModel
from tests.fakes.upstream import FakeUpstream
from tests.server.gateway.conftest import (
    CHAT,
    MODELS,
    TOKEN,
    House,
    Vendor,
    asking,
    sandbox,
    selling,
)
from tests.server.gateway.test_gateway import exchanged

CALLS: list[tuple[Wire, str, dict[str, object]]] = [
    ("chat", "/openai/chat/completions", {"model": "m"}),
    ("responses", "/openai/responses", {"model": "m"}),
    ("google", "/openai/v1beta/models/m:generateContent", {}),
    ("anthropic", "/openai/v1/messages", {"model": "m"}),
]
KEYS = {
    "chat": f"authorization: bearer {KEY}",
    "responses": f"authorization: bearer {KEY}",
    "google": f"x-goog-api-key: {KEY}",
    "anthropic": f"x-api-key: {KEY}",
}


@pytest.mark.parametrize(("wire", "path", "body"), CALLS)
@pytest.mark.parametrize("header", ["authorization: Bearer ", "x-api-key: ", "x-goog-api-key: "])
async def test_the_token_is_taken_from_where_a_client_puts_it_and_the_key_goes_where_its_vendor_looks(
    house: House, wire: Wire, path: str, body: dict[str, object], header: str
) -> None:
    vendor = Vendor(answer=b"{}", content_type="application/json")
    async with selling(vendor):
        door = await house.door(FakeUpstream(url=vendor.url, wire=wire))
        answer = await exchanged(door, posted(path, body, f"{header}{TOKEN}"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    (head,) = vendor.heads
    bearing = [line.lower() for line in head.split("\r\n") if KEY in line]
    assert bearing == [KEYS[wire]]
    assert TOKEN not in head
    assert json.loads(vendor.bodies[0]).get("model") == body.get("model")


def posted(path: str, body: dict[str, object], *headers: str) -> bytes:
    content = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: gateway", *headers]
    return ("\r\n".join(lines) + f"\r\ncontent-length: {len(content)}\r\n\r\n").encode() + content


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["x-api-key: wrong"],
        ["x-goog-api-key: "],
        [f"x-api-key: Bearer {TOKEN}"],
        [f"authorization: Bearer {TOKEN}", f"x-api-key: {TOKEN}"],
        [f"authorization: Bearer {TOKEN}", "x-api-key: wrong"],
        ["x-goog-api-key: wrong", f"x-api-key: {TOKEN}"],
        [f"x-api-key: {TOKEN}", f"x-api-key: {TOKEN}"],
        [f"authorization: Bearer {TOKEN}", "authorization: Basic eA=="],
        [f"proxy-authorization: Bearer {TOKEN}"],
        [f"cookie: authorization={TOKEN}"],
    ],
)
async def test_none_or_more_than_one_token_opens_nothing(
    door: Path, model: ScriptedModel, headers: list[str]
) -> None:
    answer = await exchanged(door, posted(CHAT, asking("!say hello"), *headers))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"x-salver-code: session_unknown" in answer
    assert model.requests == []


async def test_a_key_is_asked_for_by_the_first_call_and_not_again(
    house: House, model: ScriptedModel
) -> None:
    upstream = FakeUpstream(url=model.url)
    door = await house.door(upstream)
    assert upstream.asked == 0
    async with sandbox(door) as client:
        for _ in range(3):
            assert (await client.get(MODELS)).status_code == 200
    assert upstream.asked == 1


async def test_without_a_key_none_goes_up(house: House) -> None:
    async with ScriptedModel(key=None) as model:
        door = await house.door(FakeUpstream(url=model.url, held=None))
        async with sandbox(door) as client:
            assert (await client.get(MODELS)).status_code == 200
    assert "authorization" not in model.requests[0].headers


@pytest.mark.parametrize(
    ("held", "code", "words"),
    [
        (
            "sk-wrong",
            "key_refused",
            "OpenAI refused the key. Set a valid one with `salver provider set openai`.",
        ),
        (
            None,
            "key_missing",
            "OpenAI wants a key and none is set. Set one with `salver provider set openai`.",
        ),
    ],
)
async def test_a_refused_key_is_told_in_our_own_words(
    house: House, model: ScriptedModel, held: str | None, code: str, words: str
) -> None:
    door = await house.door(FakeUpstream(url=model.url, held=held))
    async with sandbox(door) as client:
        answer = await client.post(CHAT, json=asking("!say hello"))
    assert answer.status_code == 401
    assert answer.headers["x-salver-code"] == code
    assert answer.json()["error"] == {
        "message": words,
        "type": "invalid_request_error",
        "param": None,
        "code": code,
    }
    assert len(model.requests) == 1


async def test_a_key_that_was_set_anew_is_used_at_once(house: House, model: ScriptedModel) -> None:
    upstream = FakeUpstream(url=model.url)
    door = await house.door(upstream)
    async with sandbox(door) as client:
        assert (await client.post(CHAT, json=asking("!say hello"))).status_code == 200
        model.key = upstream.held = "sk-newer"
        assert (await client.post(CHAT, json=asking("!say hello"))).status_code == 200
        assert (await client.post(CHAT, json=asking("!say hello"))).status_code == 200
    assert upstream.asked == 2
    assert len(house.meter.begun) == 3


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
    [
        (NeedsUser("The keychain is shut. Unlock it."), 401, "key_unavailable"),
        (Transient("The keychain does not answer. Try again."), 503, "key_unavailable"),
        (Missing("There is no secret 'openai.api-key'."), 401, "key_missing"),
    ],
)
async def test_a_key_that_cannot_be_had_is_told_and_asked_for_again_the_next_time(
    house: House, model: ScriptedModel, trouble: SalverError, status: int, code: str
) -> None:
    upstream = FakeUpstream(url=model.url, trouble=trouble)
    door = await house.door(upstream)
    async with sandbox(door) as client:
        answer = await client.post(CHAT, json=asking("!say hello"))
        assert (answer.status_code, answer.headers["x-salver-code"]) == (status, code)
        if code == "key_unavailable":
            assert answer.json()["error"]["message"] == str(trouble)
        assert model.requests == []
        assert (await house.meter.over(1)).status == status
        upstream.trouble = None
        assert (await client.post(CHAT, json=asking("!say hello"))).status_code == 200


@pytest.mark.parametrize(("wire", "path", "body"), CALLS)
async def test_a_key_that_a_vendor_echoes_does_not_come_back(
    house: House, wire: Wire, path: str, body: dict[str, object]
) -> None:
    vendor = Vendor(answer=f"<{KEY}>".encode(), content_type=KEY, status="400 Bad Request")
    async with selling(vendor):
        door = await house.door(FakeUpstream(url=vendor.url, wire=wire))
        answer = await exchanged(door, posted(path, body, f"x-api-key: {TOKEN}"))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert KEY.encode() not in answer
    assert b"<***>" in answer
    assert b"x-salver-code" not in answer
