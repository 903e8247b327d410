import asyncio

import pytest

from salver_server.errors import Broken
from salver_server.ids import SecretName
from salver_server.kit.secret import Secret
from salver_server.secrets import VaultShut
from salver_server.secrets.holder import LIMIT
from tests.server.secrets.conftest import KEY, TOKEN, VALUE, Safe


async def test_a_rotation_seals_everything_with_a_new_key_alone(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.vault.put(TOKEN, Secret("token"))
    [before], item, rows = (
        set(await safe.versions()),
        safe.keychain.item,
        await safe.vault.names(),
    )
    safe.clock.advance(5)
    await safe.vault.rotate()
    [after] = set(await safe.versions())
    assert after != before
    assert safe.keychain.item not in (item, None)
    assert safe.keychain.item is not None
    assert len(safe.keychain.item.reveal()) == 44
    assert await safe.vault.names() == rows  # for people nothing has changed
    for _ in range(2):
        assert (await safe.read(), await safe.read(TOKEN)) == (VALUE, "token")
        await safe.reopen()


async def test_a_key_in_a_file_is_rotated_in_the_file(safe: Safe) -> None:
    await safe.with_file()
    before = safe.file.get()
    await safe.vault.rotate()
    assert safe.file.get() not in (before, None)
    assert safe.keychain.item is None
    await safe.reopen()
    assert await safe.read() == VALUE


async def test_where_nothing_was_ever_sealed_nothing_is_rotated(safe: Safe) -> None:
    await safe.vault.rotate()
    assert safe.keychain.item is None


async def test_a_damaged_row_stops_a_rotation_before_anything_has_changed(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.vault.put(TOKEN, Secret("token"))
    before = await safe.versions()
    await safe.database.write(
        lambda conn: conn.execute(
            "UPDATE secrets SET nonce = zeroblob(12) WHERE name = ?", (TOKEN,)
        )
    )
    with pytest.raises(Broken, match=r"'telegram\.token'"):
        await safe.vault.rotate()
    assert await safe.versions() == before
    await safe.reopen()
    assert await safe.read() == VALUE
    await safe.vault.remove(TOKEN)
    await safe.vault.rotate()
    assert await safe.read() == VALUE
    assert safe.keychain.item is not None
    assert len(safe.keychain.item.reveal()) == 44


async def test_a_prompt_in_the_middle_of_a_rotation_loses_nothing(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    safe.keychain.prompt()
    async with asyncio.TaskGroup() as tasks:
        rotating = tasks.create_task(shut_out(safe), name="rotate")
        await asyncio.to_thread(safe.keychain.wait_for_prompt)
        safe.clock.advance(LIMIT)
        await rotating
        assert await safe.read() == VALUE
        safe.keychain.answer()
    await safe.vault.rotate()
    await safe.reopen()
    assert await safe.read() == VALUE


async def shut_out(safe: Safe) -> None:
    with pytest.raises(VaultShut, match="waiting for you"):
        await safe.vault.rotate()


async def test_putting_and_getting_go_on_while_keys_are_rotated(safe: Safe) -> None:
    names = [SecretName(f"secret-{number}") for number in range(20)]
    for name in names:
        await safe.vault.put(name, Secret(name))

    async def use(name: SecretName) -> None:
        for number in range(5):
            value = f"{name}-{number}"
            await safe.vault.put(name, Secret(value))
            assert await safe.read(name) == value

    async with asyncio.TaskGroup() as tasks:
        for name in names:
            tasks.create_task(use(name), name=name)
        for number in range(5):
            tasks.create_task(safe.vault.rotate(), name=f"rotate-{number}")
    await safe.reopen()
    assert [await safe.read(name) for name in names] == [f"{name}-4" for name in names]
    assert len(set(await safe.versions())) == 1
