import logging

import pytest

from tests.fakes.keychain import FakeKeychain
from tests.server.api.conftest import House

KEY = "sk-0123456789-do-not-show"


async def test_every_provider_is_listed_with_what_it_wants(house: House) -> None:
    found = {one["name"]: one for one in await house.ask("GET", "/providers")}
    assert found["openai"] == {
        "name": "openai",
        "title": "OpenAI",
        "wire": "responses",
        "base_url": "https://api.openai.com/v1",
        "key": "yes",
        "suggested": "gpt-5-mini",
        "keys_at": "https://platform.openai.com/api-keys",
        "default": False,
        "accounts": [],
    }
    assert [name for name, one in found.items() if one["default"]] == ["demo"]


async def test_an_account_is_set_shown_changed_and_removed(house: House) -> None:
    made = await house.ask("PUT", "/providers/openai", {"key": KEY, "default": True})
    account = {
        "agent": "",
        "base_url": "https://api.openai.com/v1",
        "model": "",
        "plain_http": False,
        "has_key": True,
        "changed_at": house.clock.stamp(),
    }
    assert made == {**account, "key_dropped": False}
    listed = {one["name"]: one for one in await house.ask("GET", "/providers")}["openai"]
    assert (listed["default"], listed["accounts"]) == (True, [account])
    moved = await house.ask("PUT", "/providers/openai", {"base_url": "https://proxy.test/v1"})
    assert (moved["key_dropped"], moved["has_key"]) == (True, False)
    await house.ask("DELETE", "/providers/openai")
    assert (await house.refused("DELETE", "/providers/openai"))[:2] == (404, "Missing")


async def test_agents_are_shown_with_what_they_run_with(house: House) -> None:
    async def runs_with() -> str:
        return (await house.ask("GET", "/agents/salver"))["runs_with"]

    assert await runs_with() == "demo"
    await house.ask("PUT", "/providers/openai", {"key": KEY})
    assert await runs_with() == "openai/gpt-5-mini"
    await house.ask("PUT", "/providers/openai", {"base_url": "https://proxy.test/v1"})
    assert (await runs_with()).startswith("OpenAI has no key.")


async def test_an_agent_s_own_account_goes_with_it(house: House) -> None:
    status, kind, _ = await house.refused("PUT", "/providers/openai", {"agent": "ada", "key": KEY})
    assert (status, kind) == (404, "Missing")
    await house.ask("POST", "/agents", {"name": "ada"}, status=201)
    await house.ask("PUT", "/providers/openai", {"agent": "ada", "key": KEY})
    assert (await house.ask("GET", "/agents/ada"))["runs_with"] == "openai/gpt-5-mini"
    assert (await house.ask("GET", "/agents/salver"))["runs_with"] == "demo"
    await house.ask("DELETE", "/agents/ada")
    assert house.running.rooms.accounts.all() == []


async def test_a_test_of_the_demo_needs_no_call(house: House) -> None:
    found = await house.ask("POST", "/providers/demo/test", {})
    assert (found["works"], found["models"]) == (True, [])


async def test_a_test_of_what_is_not_set_up_says_what_to_do(house: House) -> None:
    status, _, message = await house.refused("POST", "/providers/openai/test", {})
    assert (status, message) == (
        424,
        "OpenAI is not set up yet. `salver provider set openai` does it.",
    )


@pytest.mark.parametrize(
    "body",
    [
        {"key": [KEY]},
        {"key": {KEY: KEY}},
        {"key": KEY, "model": [KEY]},
        {"key": KEY, "agent": {"name": KEY}},
        {"key": KEY, "default": KEY},
        {"key": f"{KEY} {KEY}"},
        {"key": KEY, "base_url": f"https://{KEY}:{KEY}@api.test"},
        [KEY],
        KEY,
    ],
    ids=str,
)
async def test_no_refusal_quotes_the_key(
    house: House, body: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    status, _, message = await house.refused("PUT", "/providers/openai", body)
    assert status == 422
    assert KEY not in message + caplog.text


async def test_a_body_that_is_torn_is_not_quoted(house: House) -> None:
    answer = await house.client.put(
        "/providers/openai",
        content=f'{{"key": "{KEY}'.encode(),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 422
    assert KEY not in answer.text


async def test_a_key_is_never_answered(house: House, keychain: FakeKeychain) -> None:
    await house.ask("PUT", "/providers/openai", {"key": KEY})
    for path in ("/providers", "/keychain", "/keychain/uses", "/status", "/agents"):
        answer = await house.client.get(path)
        assert KEY not in answer.text
        assert keychain.item is not None
        assert keychain.item.reveal() not in answer.text
