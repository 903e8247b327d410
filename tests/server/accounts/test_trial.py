"""One real call by the way that a session's calls go: the gateway, and whoever stands for the vendor behind it."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from salver_server.accounts import EVERYONE, Trial, Trials
from salver_server.calls import Wire
from salver_server.clock import SystemClock
from salver_server.errors import NeedsUser
from salver_server.gateway import open_gateway
from salver_server.ids import AgentName
from tests.fakes.meter import FakeMeter
from tests.fakes.model import MODEL, ScriptedModel
from tests.server.accounts.conftest import ADA, KEY, Desk, key

PROVIDERS: dict[Wire, str] = {
    "chat": "openrouter",
    "responses": "openai",
    "google": "google",
    "anthropic": "anthropic",
}


@dataclass(slots=True)
class Vendor:
    """Answers each path as it is told, and keeps what it was asked."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict[str, tuple[int, Any]])
    asked: list[tuple[str, dict[str, str], Any]] = field(
        default_factory=list[tuple[str, dict[str, str], Any]]
    )
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        path = first.split()[1]
        self.asked.append((path, headers, json.loads(body or b"null")))
        status, answer = self.answers.get(path, (200, 'data: {"words": "ok"}\n\n'))
        data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        writer.write(
            f"HTTP/1.1 {status} So\r\ncontent-type: text/plain\r\nconnection: close\r\n"
            f"content-length: {len(data)}\r\n\r\n".encode()
            + data
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    async with await asyncio.start_server(vendor.serve, "127.0.0.1") as server:
        vendor.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield vendor


@dataclass(slots=True, kw_only=True)
class House:
    desk: Desk
    trials: Trials
    meter: FakeMeter

    async def set(self, provider: str, url: str) -> None:
        await self.desk.accounts.put(provider, base_url=url, key=key())

    async def test(self, provider: str, model: str = "gpt-9", agent: AgentName = EVERYONE) -> Trial:
        return await self.trials(provider, agent=agent, model=model)


@asynccontextmanager
async def opened(desk: Desk, folder: Path) -> AsyncGenerator[House]:
    meter = FakeMeter()
    async with open_gateway(SystemClock(), meter=meter) as gateway:
        yield House(
            desk=desk,
            trials=Trials(gateway=gateway, accounts=desk.accounts, folder=folder),
            meter=meter,
        )


@pytest.fixture
async def house(desk: Desk, quick_path: Path) -> AsyncIterator[House]:
    async with opened(desk, quick_path) as house:
        yield house


@pytest.mark.parametrize("wire", PROVIDERS)
async def test_the_smallest_call_of_every_format_gets_through(
    house: House, vendor: Vendor, wire: Wire
) -> None:
    provider = PROVIDERS[wire]
    await house.set(provider, vendor.url)
    found = await house.test(provider)
    title = house.desk.accounts.spec(provider).title
    assert found == Trial(works=True, model="gpt-9", says=f"{title} answers with gpt-9.")
    ((_, headers, _),) = vendor.asked
    assert any(KEY in value for value in headers.values())


@pytest.mark.parametrize("wire", PROVIDERS)
async def test_a_model_of_every_format_takes_the_smallest_call(house: House, wire: Wire) -> None:
    async with ScriptedModel(wire=wire, key=KEY) as model:
        await house.set(PROVIDERS[wire], model.url)
        assert (await house.test(PROVIDERS[wire], MODEL)).works


async def test_a_test_is_on_record_with_whoever_pays_and_whoever_keeps_the_key(
    house: House, vendor: Vendor
) -> None:
    await house.set("openai", vendor.url)
    await house.test("openai", agent=ADA)
    ended = await house.meter.over(1)
    assert (ended.ask.session, ended.ask.agent, ended.ask.model) == ("", ADA, "gpt-9")
    assert ended.ask.most_output == 16
    (use,) = await house.desk.vault.uses()
    assert (use.secret, use.purpose, use.session) == ("provider.openai", "a test", None)


async def test_a_refused_key_is_said_and_not_quoted(house: House, vendor: Vendor) -> None:
    await house.set("openai", vendor.url)
    vendor.answers["/v1/responses"] = (401, {"error": {"message": f"Bad key {KEY}"}})
    found = await house.test("openai")
    assert not found.works
    assert "refused the key" in found.says
    assert KEY not in found.says


async def test_an_unknown_model_is_said_with_some_that_there_are(
    house: House, vendor: Vendor
) -> None:
    await house.set("openai", vendor.url)
    vendor.answers["/v1/responses"] = (400, {"error": {"message": "No such model."}})
    vendor.answers["/v1/models"] = (200, {"data": [{"id": f"gpt-{n}"} for n in range(9)]})
    found = await house.test("openai", "gpt-x")
    assert found.says == (
        "OpenAI has no model 'gpt-x' for you. Name another one with --model. It says: No such model."
    )
    assert found.models == tuple(f"gpt-{n}" for n in range(9))


async def test_a_model_that_exists_is_not_blamed(house: House, vendor: Vendor) -> None:
    await house.set("openai", vendor.url)
    vendor.answers["/v1/responses"] = (400, {"error": {"message": "Not like this."}})
    vendor.answers["/v1/models"] = (200, {"data": [{"id": "gpt-9"}]})
    found = await house.test("openai")
    assert found.says == "OpenAI refused the call (status 400). It says: Not like this."
    assert found.models == ()


async def test_a_server_that_counts_output_by_another_name_is_asked_so(
    house: House, vendor: Vendor
) -> None:
    await house.set("openrouter", vendor.url)
    message = "Use 'max_completion_tokens' instead."
    vendor.answers["/v1/chat/completions"] = (400, {"error": {"message": message}})
    await house.test("openrouter")
    bodies = [body for path, _, body in vendor.asked if path == "/v1/chat/completions"]
    assert [sorted(body.keys() & {"max_tokens", "max_completion_tokens"}) for body in bodies] == [
        ["max_tokens"],
        ["max_completion_tokens"],
    ]


@dataclass(frozen=True, kw_only=True)
class Case:
    status: int
    body: object
    says: str


@pytest.mark.parametrize(
    "case",
    [
        Case(status=402, body={"error": {"message": "Pay."}}, says="OpenAI wants to be paid first: there is no credit left on the account. It says: Pay."),
        Case(status=404, body={"error": "gone"}, says="OpenAI has no model 'gpt-9' for you. Name another one with --model. It says: gone"),
        Case(status=429, body=[{"error": {"message": "Slow down."}}], says="OpenAI takes no more calls for now: too many, or the quota is used up. It says: Slow down."),
        Case(status=529, body={}, says="OpenAI is overloaded. Try again in a while."),
        Case(status=500, body="what?", says="OpenAI has trouble of its own (status 500). Try again in a while."),
        Case(status=418, body=None, says="OpenAI refused the call (status 418)."),
    ],
    ids=lambda case: str(case.status),
)  # fmt: skip
async def test_a_refusal_is_explained(house: House, vendor: Vendor, case: Case) -> None:
    await house.set("openai", vendor.url)
    vendor.answers["/v1/responses"] = (case.status, case.body)
    found = await house.test("openai")
    assert (found.works, found.says) == (False, case.says)


@pytest.mark.parametrize(
    "event",
    [
        {"error": {"message": "Overloaded."}},
        {"type": "error", "error": {"message": "Overloaded."}},
        {"type": "response.failed", "response": {"id": "r", "error": {"message": "Overloaded."}}},
    ],
    ids=json.dumps,
)
async def test_a_complaint_in_the_middle_of_an_answer_is_heard(
    house: House, vendor: Vendor, event: object
) -> None:
    await house.set("openai", vendor.url)
    answer = f'data: {{"response": {{"error": null}}}}\n\ndata: {json.dumps(event)}\n\n'
    vendor.answers["/v1/responses"] = (200, answer)
    found = await house.test("openai")
    assert (found.works, found.says) == (
        False,
        "OpenAI broke off in the middle of its answer. It says: Overloaded.",
    )


@pytest.mark.parametrize("answer", ["<html>Welcome!</html>", "", "data: [DONE]\n\n"])
async def test_what_is_no_model_s_answer_does_not_count_as_one(
    house: House, vendor: Vendor, answer: str
) -> None:
    await house.set("openai", vendor.url)
    vendor.answers["/v1/responses"] = (200, answer)
    found = await house.test("openai")
    assert (found.works, found.says) == (
        False,
        "What answers there is no OpenAI. Check the address: most end in /v1.",
    )


async def test_who_cannot_be_reached_is_said(house: House) -> None:
    await house.set("openai", "http://127.0.0.1:1/v1")
    found = await house.test("openai")
    assert not found.works
    assert "cannot reach" in found.says


async def test_a_keychain_that_is_shut_is_said(house: House, vendor: Vendor) -> None:
    await house.set("openai", vendor.url)
    house.desk.vault.close()
    house.desk.keychain.fail("locked")
    found = await house.test("openai")
    assert not found.works
    assert "Your keychain is locked." in found.says
    assert vendor.asked == []


async def test_what_is_not_set_up_is_not_called(house: House) -> None:
    with pytest.raises(NeedsUser, match="OpenAI is not set up yet"):
        await house.test("openai")
    assert (await house.test("demo")).works


async def test_two_tests_at_a_time_take_turns(house: House, vendor: Vendor) -> None:
    await house.set("openai", vendor.url)
    found = await asyncio.gather(house.test("openai"), house.test("openai"))
    assert [one.works for one in found] == [True, True]
