"""What happens when the key can't be had, and what a person is told."""

import asyncio
import errno
import os
from typing import get_args

import pytest

from salver_server.errors import Conflict, NeedsUser
from salver_server.kit.secret import Secret
from salver_server.secrets import KeychainState, Standing, VaultShut
from salver_server.secrets.holder import LIMIT
from salver_server.secrets.keychain import Why
from tests.fakes.keychain import FakeKeychain
from tests.server.secrets.conftest import KEY, TOKEN, VALUE, Safe

OTHER = Secret("A" * 43 + "=")


@pytest.mark.parametrize("state", get_args(KeychainState))
def test_every_state_says_what_to_do(state: KeychainState) -> None:
    assert len(Standing(state=state).advice) > 40


@pytest.mark.parametrize("why", get_args(Why))
async def test_a_keychain_that_does_not_open_is_said_and_works_once_it_does(
    safe: Safe, why: Why
) -> None:
    safe.keychain.fail(why)
    with pytest.raises(VaultShut) as shut:
        await safe.vault.put(KEY, Secret(VALUE))
    assert shut.value.standing.state == why == safe.vault.standing().state
    assert str(shut.value) == safe.vault.standing().advice
    assert not safe.file.exists()
    safe.keychain.fail(None)
    await safe.vault.put(KEY, Secret(VALUE))
    assert safe.vault.standing().state == "ready"


async def test_a_prompt_that_nobody_answers_is_said_and_never_shown_twice(safe: Safe) -> None:
    safe.keychain.prompt()
    async with asyncio.TaskGroup() as tasks:
        putting = [
            tasks.create_task(shut_state(safe, number), name=f"put-{number}") for number in range(3)
        ]
        await asyncio.to_thread(safe.keychain.wait_for_prompt)
        await safe.clock.asleep(3)
        safe.clock.advance(LIMIT)
        assert [await one for one in putting] == ["waiting"] * 3
        assert safe.vault.standing().state == "waiting"
        late = tasks.create_task(safe.vault.put(KEY, Secret(VALUE)), name="late")
        await safe.clock.asleep()
        safe.keychain.answer()
        await late
    assert await safe.read() == VALUE
    assert safe.keychain.most_prompts == 1
    assert safe.vault.standing().state == "ready"


async def shut_state(safe: Safe, number: int) -> str:
    with pytest.raises(VaultShut, match="waiting for you") as shut:
        await safe.vault.put(TOKEN, Secret(f"{number}"))
    return shut.value.standing.state


async def test_a_key_that_arrives_after_its_maker_left_is_the_folder_s_key(safe: Safe) -> None:
    safe.keychain.prompt("set")
    await give_up(safe)
    safe.keychain.answer()
    await safe.vault.put(KEY, Secret(VALUE))
    assert safe.keychain.calls.count("set") == 1
    await safe.reopen()
    assert await safe.read() == VALUE


async def test_no_file_is_made_under_an_open_prompt(safe: Safe) -> None:
    safe.keychain.prompt("set")
    await give_up(safe)
    async with asyncio.TaskGroup() as tasks:
        allowing = tasks.create_task(refused_file(safe), name="allow")
        await safe.clock.asleep()
        safe.clock.advance(LIMIT)
        await allowing
    assert not safe.file.exists()


async def give_up(safe: Safe) -> None:
    """Somebody puts a secret, and leaves while the prompt is open."""
    async with asyncio.TaskGroup() as tasks:
        putting = tasks.create_task(shut_state(safe, 1), name="put")
        await asyncio.to_thread(safe.keychain.wait_for_prompt)
        safe.clock.advance(LIMIT)
        assert await putting == "waiting"


async def refused_file(safe: Safe) -> None:
    with pytest.raises(VaultShut, match="waiting for you"):
        await safe.vault.allow_key_file()


async def test_asking_by_a_click_says_how_it_stands(safe: Safe) -> None:
    safe.keychain.fail("locked")
    assert (await safe.vault.unlock()).state == "locked"
    safe.keychain.fail(None)
    assert (await safe.vault.unlock()).state == "ready"
    assert safe.keychain.item is None


async def test_no_second_key_is_made_while_secrets_need_the_first(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    kept, safe.keychain.item = safe.keychain.item, None
    await safe.reopen()
    for attempt in (safe.read(), safe.vault.put(TOKEN, Secret("token")), safe.vault.rotate()):
        with pytest.raises(VaultShut, match="no second key") as shut:
            await attempt
        assert shut.value.standing.state == "missing"
    assert safe.keychain.item is None
    safe.keychain.item = kept
    assert await safe.read() == VALUE


async def test_a_lost_key_is_got_over_by_removing_what_it_sealed(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.reopen(FakeKeychain())
    await safe.vault.remove(KEY)
    await safe.vault.put(KEY, Secret("anew"))
    assert await safe.read() == "anew"


@pytest.mark.parametrize("item", [OTHER, Secret("scribble"), Secret("")])
async def test_an_item_that_is_not_the_key_is_neither_used_nor_replaced(
    safe: Safe, item: Secret
) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.reopen()
    safe.keychain.item = item
    with pytest.raises(VaultShut) as shut:
        await safe.read()
    assert shut.value.standing.state == "missing"
    with pytest.raises(VaultShut):
        await safe.vault.put(TOKEN, Secret("token"))
    assert safe.keychain.item is item


async def test_a_keychain_that_keeps_something_else_gets_nothing_to_seal(safe: Safe) -> None:
    safe.keychain.garble(lambda item: Secret(item.reveal()[:20]))
    with pytest.raises(VaultShut, match="did not give back"):
        await safe.vault.put(KEY, Secret(VALUE))
    assert await safe.vault.names() == []


# The key file


@pytest.mark.parametrize("why", get_args(Why))
async def test_a_key_file_is_made_only_once_it_is_allowed_and_says_so(safe: Safe, why: Why) -> None:
    safe.keychain.fail(why)
    assert (await safe.vault.allow_key_file()).state == "file"
    assert safe.file.path.stat().st_mode & 0o777 == 0o600
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.reopen()
    assert safe.vault.standing().state == "file"
    assert "only by file permissions" in safe.vault.standing().advice
    safe.keychain.calls.clear()
    assert await safe.read() == VALUE
    assert safe.keychain.calls == []


async def test_allowing_twice_makes_one_key(safe: Safe) -> None:
    await safe.with_file()
    before = safe.file.get()
    await safe.vault.allow_key_file()
    assert safe.file.get() == before
    assert await safe.read() == VALUE


async def test_a_keychain_that_works_is_used_although_a_file_is_allowed(safe: Safe) -> None:
    assert (await safe.vault.allow_key_file()).state == "ready"
    await safe.vault.put(KEY, Secret(VALUE))
    assert (await safe.vault.allow_key_file()).state == "ready"
    assert not safe.file.exists()


@pytest.mark.parametrize("why", get_args(Why))
async def test_no_key_file_is_made_while_secrets_need_the_keychain_s_key(
    safe: Safe, why: Why
) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.reopen()
    safe.keychain.fail(why)
    with pytest.raises(VaultShut) as shut:
        await safe.vault.allow_key_file()
    assert shut.value.standing.state == "missing"
    assert not safe.file.exists()
    safe.keychain.fail(None)
    assert await safe.read() == VALUE


async def test_another_key_file_opens_nothing_and_takes_nothing(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.reopen()
    safe.file.create(OTHER)
    for attempt in (safe.read(), safe.vault.put(TOKEN, Secret("token"))):
        with pytest.raises(VaultShut, match="is not the one that sealed them"):
            await attempt
    safe.file.delete()
    assert await safe.read() == VALUE


async def test_a_full_disk_makes_no_key_file(safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    safe.keychain.fail("absent")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(NeedsUser, match=r"The disk is full.*Free some disk space"):
            await safe.vault.allow_key_file()
    assert not safe.file.exists()
    assert (await safe.vault.allow_key_file()).state == "file"


# Moving


async def test_a_key_that_was_moved_rests_in_the_keychain_alone(safe: Safe) -> None:
    await safe.with_file()
    item = safe.file.get()
    assert (await safe.vault.move_to_keychain()).state == "ready"
    assert (safe.keychain.item, safe.file.exists()) == (item, False)
    await safe.reopen()
    assert await safe.read() == VALUE
    assert (await safe.vault.move_to_keychain()).state == "ready"


@pytest.mark.parametrize("why", get_args(Why))
async def test_the_file_stays_while_the_keychain_does_not_take_the_key(
    safe: Safe, why: Why
) -> None:
    await safe.with_file()
    safe.keychain.fail(why)
    with pytest.raises(VaultShut):
        await safe.vault.move_to_keychain()
    assert await safe.read() == VALUE
    safe.keychain.fail(None)
    safe.keychain.garble(lambda _: OTHER)
    with pytest.raises(VaultShut, match="did not give back"):
        await safe.vault.move_to_keychain()
    await safe.reopen()
    assert await safe.read() == VALUE


async def test_of_two_keys_that_differ_neither_is_given_up(safe: Safe) -> None:
    await safe.with_file()
    safe.keychain.item = OTHER
    with pytest.raises(Conflict, match="another key for this folder"):
        await safe.vault.move_to_keychain()
    assert safe.keychain.item is OTHER
    assert await safe.read() == VALUE
