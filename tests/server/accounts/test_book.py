"""Accounts are set, changed and removed; a key goes to the address that it was given for, and to no other."""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from salver_server.accounts import EVERYONE, store
from salver_server.errors import Missing, NeedsUser, Rejected
from salver_server.ids import AgentName
from salver_server.secrets import VaultShut
from tests.server.accounts.conftest import ADA, KEY, Desk, key

BOB = AgentName("bob")
PATIENCE = 20.0


async def test_an_account_is_set_with_what_the_provider_has_of_itself(desk: Desk) -> None:
    kept = await desk.accounts.put("openai", key=key())
    account = desk.get("openai")
    assert (kept.account, kept.key_dropped) == (account, False)
    assert (account.agent, account.base_url, account.model) == (
        EVERYONE,
        "https://api.openai.com/v1",
        "",
    )
    assert (account.keyed, account.preferred, account.plain_http) == (True, False, False)
    assert await desk.key("openai") == KEY


async def test_what_is_not_given_stays(desk: Desk) -> None:
    await desk.accounts.put(
        "openai-compatible",
        base_url="http://nas.test/v1/",
        model="m",
        plain_http=True,
        key=key(),
        preferred=True,
    )
    before = desk.get("openai-compatible")
    desk.clock.advance(60)
    await desk.accounts.put("openai-compatible", model="n")
    after = desk.get("openai-compatible")
    assert after == replace(before, model="n", changed_at=desk.clock.stamp())
    assert (after.base_url, after.preferred) == ("http://nas.test/v1", True)
    assert await desk.key("openai-compatible") == KEY


async def test_accounts_outlive_a_restart(desk: Desk) -> None:
    await desk.accounts.put("openai", key=key(), model="m")
    before = desk.accounts.all()
    assert (await desk.reopen()).all() == before
    assert await desk.key("openai") == KEY


async def test_a_key_is_not_taken_along_to_another_address(desk: Desk) -> None:
    await desk.accounts.put("openai", key=key())
    kept = await desk.accounts.put("openai", base_url="https://proxy.test/v1")
    assert (kept.key_dropped, kept.account.keyed) == (True, False)
    assert await desk.secrets() == []
    with pytest.raises(Missing, match="There is no key for 'openai'"):
        await desk.key("openai")
    kept = await desk.accounts.put("openai", key=key("sk-new"))
    assert (kept.key_dropped, await desk.key("openai")) == (False, "sk-new")


async def test_a_key_that_is_given_with_another_address_is_for_that(desk: Desk) -> None:
    await desk.accounts.put("openai", key=key())
    before = desk.get("openai")
    kept = await desk.accounts.put("openai", base_url="https://proxy.test/v1", key=key("sk-new"))
    assert (kept.key_dropped, await desk.key("openai")) == (False, "sk-new")
    # Whoever still calls the old address gets none.
    with pytest.raises(NeedsUser, match="was changed or removed meanwhile"):
        await desk.accounts.key(before, purpose="a test")


async def test_a_key_that_changes_while_it_is_asked_for_is_not_handed_out(desk: Desk) -> None:
    await desk.accounts.put("openai", key=key())
    before = desk.get("openai")
    desk.vault.close()
    desk.keychain.prompt("get")
    asking = asyncio.gather(
        desk.accounts.key(before, purpose="a test"),
        # There and back: the address is the same one again, the key is not.
        desk.accounts.put("openai", base_url="https://proxy.test/v1", key=key("sk-new")),
        desk.accounts.put("openai", base_url=before.base_url, key=key("sk-old")),
        return_exceptions=True,
    )
    await asyncio.to_thread(desk.keychain.wait_for_prompt)
    async with asyncio.timeout(PATIENCE):
        while desk.get("openai").keyed:  # noqa: ASYNC110  the move has begun, and tells nobody
            await asyncio.sleep(0.001)
    desk.keychain.answer()
    asked, *changed = await asking
    assert type(asked) is NeedsUser
    assert not any(isinstance(one, BaseException) for one in changed)
    assert await desk.key("openai") == "sk-old"


async def test_a_kill_between_the_steps_leaves_an_account_without_a_key(desk: Desk) -> None:
    await desk.accounts.put("openai", key=key())
    moved = replace(desk.get("openai"), keyed=False)
    await desk.database.write(lambda conn: store.keep(conn, moved))
    await desk.reopen()
    with pytest.raises(Missing):
        await desk.key("openai")
    assert await desk.secrets() == []


async def test_an_account_whose_key_cannot_be_kept_stays_as_it_was(desk: Desk) -> None:
    await desk.accounts.put("openai", key=key())
    before = desk.get("openai")
    desk.vault.close()
    desk.keychain.fail("locked")
    with pytest.raises(VaultShut):
        await desk.accounts.put("openai", base_url="https://proxy.test/v1", key=key("sk-new"))
    assert desk.get("openai") == before
    desk.keychain.fail(None)
    assert await desk.key("openai") == KEY
    desk.vault.close()
    desk.keychain.fail("locked")
    with pytest.raises(VaultShut):
        await desk.accounts.put("google", key=key())
    assert [one.provider for one in desk.accounts.all()] == ["openai"]


async def test_a_key_is_forgotten_when_told_to(desk: Desk) -> None:
    await desk.accounts.put("openai-compatible", base_url="https://a.test", key=key())
    await desk.accounts.put("openai-compatible", without_key=True)
    assert (await desk.secrets(), await desk.key("openai-compatible")) == ([], None)


async def test_an_agents_own_account_shares_nothing_with_everyones(desk: Desk) -> None:
    await desk.accounts.put("openai", base_url="https://all.test", model="m", key=key())
    await desk.accounts.put("openai", ADA, key=key("sk-ada"))
    own = desk.get("openai", ADA)
    assert (own.base_url, own.model) == ("https://api.openai.com/v1", "")
    assert (await desk.key("openai"), await desk.key("openai", ADA)) == (KEY, "sk-ada")
    await desk.accounts.remove("openai", ADA)
    assert (await desk.secrets(), await desk.key("openai")) == (["provider.openai"], KEY)


async def test_only_one_account_is_preferred(desk: Desk) -> None:
    assert desk.accounts.default() == "demo"
    await desk.accounts.put("openai", key=key(), preferred=True)
    await desk.accounts.put("ollama", model="llama")
    assert desk.accounts.default() == "openai"
    await desk.accounts.put("ollama", preferred=True)
    assert [one.provider for one in desk.accounts.all() if one.preferred] == ["ollama"]
    assert desk.accounts.default() == "ollama"
    await desk.accounts.put("demo", preferred=True)
    assert desk.accounts.default() == "demo"


async def test_an_account_is_removed_with_its_key(desk: Desk) -> None:
    await desk.accounts.put("openai", key=key())
    await desk.accounts.remove("openai")
    assert (desk.accounts.all(), await desk.secrets()) == ([], [])
    with pytest.raises(Missing, match="There is no account with the provider 'openai'"):
        await desk.accounts.remove("openai")
    with pytest.raises(Missing, match="There is no account of agent 'ada' with"):
        await desk.accounts.remove("openai", ADA)


async def test_an_agent_that_is_removed_leaves_no_account(desk: Desk) -> None:
    await desk.accounts.put("openai", ADA, key=key())
    await desk.accounts.put("google", ADA, key=key())
    await desk.accounts.put("openai", BOB, key=key())
    await desk.accounts.remove_all_of(ADA)
    assert [(one.provider, one.agent) for one in desk.accounts.all()] == [("openai", BOB)]
    assert await desk.secrets() == ["provider.openai.bob"]


async def test_a_removal_that_was_cut_off_is_finished_by_the_next_start(desk: Desk) -> None:
    await desk.accounts.put("openai", key=key())
    account = desk.get("openai")
    await desk.database.write(lambda conn: store.remove(conn, account))
    await desk.reopen()
    assert await desk.secrets() == []


async def test_a_key_that_is_handed_out_is_on_record(desk: Desk) -> None:
    await desk.accounts.put("openai", key=key())
    await desk.accounts.key(desk.get("openai"), purpose="model calls")
    (use,) = await desk.vault.uses()
    assert (use.secret, use.purpose) == ("provider.openai", "model calls")


async def test_a_key_is_in_no_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await desk.accounts.put("openai", key=key())
    await desk.key("openai")
    await desk.accounts.remove("openai")
    assert KEY not in repr([record.__dict__ for record in caplog.records])


@dataclass(frozen=True, kw_only=True)
class Case:
    id: str
    provider: str
    says: str
    agent: AgentName = EVERYONE
    given: dict[str, Any] = field(default_factory=dict[str, Any])


@pytest.mark.parametrize(
    "case",
    [
        Case(id="no-key", provider="openai", says="OpenAI wants a key. Make one at https://platform"),
        Case(id="no-key-at-all", provider="openai", given={"without_key": True}, says="OpenAI wants a key"),
        Case(id="a-key-for-none", provider="ollama", given={"key": key()}, says="Ollama takes no key"),
        Case(id="no-address", provider="openai-compatible", says="say where with --base-url"),
        Case(id="a-blank", provider="openai", given={"key": key("sk-1 2")}, says="The key holds a blank"),
        Case(id="a-line", provider="openai", given={"key": key("sk-1\n")}, says="The key holds a blank"),
        Case(id="no-http", provider="openai", given={"key": key(), "base_url": "ftp://a"}, says="OpenAI: .*not usable"),
        Case(id="plain", provider="openai", given={"key": key(), "base_url": "http://a.test"}, says="would travel unencrypted"),
        Case(id="a-password", provider="openai", given={"key": key(), "base_url": "https://a:b@c"}, says="not usable"),
        Case(id="demo-with-a-key", provider="demo", given={"key": key()}, says="calls nobody"),
        Case(id="preferred-by-one", provider="openai", agent=ADA, given={"key": key(), "preferred": True}, says="cannot be everyone's default"),
    ],
    ids=lambda case: case.id,
)  # fmt: skip
async def test_what_makes_no_account_is_refused_and_nothing_is_changed(
    desk: Desk, case: Case
) -> None:
    with pytest.raises(Rejected, match=case.says) as refusal:
        await desk.accounts.put(case.provider, case.agent, **case.given)
    assert "sk-" not in str(refusal.value)
    assert (desk.accounts.all(), await desk.secrets(), desk.keychain.calls) == ([], [], [])


async def test_a_provider_that_does_not_exist_is_said(desk: Desk) -> None:
    with pytest.raises(
        Missing, match=r"There is no provider 'opnai'\. Providers: anthropic, demo,"
    ):
        await desk.accounts.put("opnai")
