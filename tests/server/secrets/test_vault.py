import asyncio
import io
import logging
import sqlite3
import traceback
from contextlib import closing
from pathlib import Path

import pytest

from salver_server.errors import Broken, Missing, NeedsUser, Rejected
from salver_server.ids import InstallId, SecretName
from salver_server.kit.logs import Fields
from salver_server.kit.secret import Secret
from salver_server.secrets import SecretRow, VaultShut, open_vault
from salver_server.store import open_database
from tests.fakes.clock import FakeClock
from tests.fakes.keychain import FakeKeychain
from tests.server.secrets.conftest import KEY, TOKEN, VALUE, Safe


async def test_a_secret_that_was_put_is_got_also_after_a_restart(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    assert await safe.read() == VALUE
    await safe.reopen()
    assert await safe.read() == VALUE


async def test_what_is_handed_out_is_a_secret(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    assert repr(await safe.vault.get(KEY, purpose="a test")) == "***"


async def test_starting_asks_no_keychain_and_neither_does_looking(safe: Safe) -> None:
    assert await safe.vault.names() == []
    assert safe.vault.standing().state == "unasked"
    with pytest.raises(Missing):
        await safe.vault.get(KEY, purpose="a test")
    with pytest.raises(Missing):
        await safe.vault.remove(KEY)
    assert safe.keychain.calls == []


async def test_the_keychain_is_asked_once(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.reopen()
    safe.keychain.calls.clear()
    for _ in range(3):
        await safe.read()
        await safe.vault.put(TOKEN, Secret("token"))
    assert safe.keychain.calls == ["get"]


async def test_the_keychain_keeps_one_key_of_44_characters(safe: Safe) -> None:
    for number in range(3):
        await safe.vault.put(SecretName(f"secret-{number}"), Secret(VALUE))
    assert safe.keychain.item is not None
    assert len(safe.keychain.item.reveal()) == 44


async def test_the_value_lies_nowhere_in_the_data_folder(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.read()
    assert safe.keychain.item is not None
    for file in safe.home.iterdir():
        data = file.read_bytes()
        assert VALUE.encode() not in data
        assert safe.keychain.item.reveal().encode() not in data


async def test_what_there_is_is_listed_by_name_and_times(safe: Safe) -> None:
    first = safe.clock.stamp()
    await safe.vault.put(TOKEN, Secret("token"))
    await safe.vault.put(KEY, Secret("old"))
    safe.clock.advance(5)
    await safe.vault.put(KEY, Secret(VALUE))
    assert await safe.vault.names() == [
        SecretRow(name=KEY, created_at=first, changed_at=safe.clock.stamp()),
        SecretRow(name=TOKEN, created_at=first, changed_at=first),
    ]
    assert await safe.read() == VALUE


async def test_a_secret_that_was_removed_is_gone(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.vault.remove(KEY)
    with pytest.raises(Missing, match=r"There is no secret 'openai\.api-key'"):
        await safe.read()
    assert await safe.vault.names() == []


@pytest.mark.parametrize("name", ["", "Upper", "a b", ".hidden", "a/b", "é", "x" * 81, "line\n"])
async def test_a_name_that_is_none_is_refused(safe: Safe, name: str) -> None:
    with pytest.raises(Rejected, match="is no name for a secret"):
        await safe.vault.put(SecretName(name), Secret(VALUE))
    assert safe.keychain.calls == []


@pytest.mark.parametrize("text", ["", "x" * (64 * 1024 + 1), VALUE + "\ud800"])
async def test_a_value_that_cannot_be_kept_is_refused_without_being_shown(
    safe: Safe, text: str
) -> None:
    with pytest.raises(Rejected, match="Paste it again") as refused:
        await safe.vault.put(KEY, Secret(text))
    assert VALUE not in "".join(traceback.format_exception(refused.value))
    assert safe.keychain.calls == []


async def test_the_largest_secret_is_kept(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret("x" * (64 * 1024)))
    assert len(await safe.read()) == 64 * 1024


async def test_a_damaged_row_is_named_and_takes_no_other_along(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.vault.put(TOKEN, Secret("token"))
    await safe.database.write(
        lambda conn: conn.execute("UPDATE secrets SET nonce = zeroblob(12) WHERE name = ?", (KEY,))
    )
    with pytest.raises(Broken, match=r"'openai\.api-key' was damaged") as broken:
        await safe.read()
    assert VALUE not in "".join(traceback.format_exception(broken.value))
    assert await safe.read(TOKEN) == "token"
    await safe.vault.put(KEY, Secret(VALUE))
    assert await safe.read() == VALUE


async def test_rows_that_were_swapped_are_not_opened(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.vault.put(TOKEN, Secret("token"))

    def swap(conn: sqlite3.Connection) -> None:
        for old, new in ((KEY, "x"), (TOKEN, KEY), ("x", TOKEN)):
            conn.execute("UPDATE secrets SET name = ? WHERE name = ?", (new, old))

    await safe.database.write(swap)
    for name in (KEY, TOKEN):
        with pytest.raises(Broken):
            await safe.read(name)


async def test_a_full_disk_is_said_and_nothing_is_handed_out_off_the_record(
    safe: Safe,
) -> None:
    await safe.vault.put(KEY, Secret(VALUE))

    def fill(conn: sqlite3.Connection) -> None:
        pages = conn.execute("PRAGMA page_count").fetchone()[0]
        conn.execute(f"PRAGMA max_page_count = {pages}")

    await safe.database.write(fill)
    with pytest.raises(NeedsUser, match=r"'telegram\.token' was not touched.*Free some disk space"):
        await safe.vault.put(TOKEN, Secret("x" * 60_000))
    with pytest.raises(NeedsUser, match="Free some disk space"):
        await read_for_ever(safe)
    await safe.database.write(lambda conn: conn.execute("PRAGMA max_page_count = 100000"))
    assert await safe.read() == VALUE


async def read_for_ever(safe: Safe) -> None:
    while True:
        await safe.read()


async def test_nothing_that_is_logged_shows_a_secret_or_a_key(
    safe: Safe, caplog: pytest.LogCaptureFixture
) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Fields())
    logging.getLogger().addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG):
            await safe.with_file()
            await safe.vault.move_to_keychain()
            await safe.vault.rotate()
            await safe.read()
            await safe.vault.remove(KEY)
    finally:
        logging.getLogger().removeHandler(handler)
    said = stream.getvalue()
    assert "secret kept secret=openai.api-key" in said
    assert safe.keychain.item is not None
    assert VALUE not in said
    assert safe.keychain.item.reveal() not in said


async def test_a_folder_opens_for_nobody_who_has_not_its_key(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    stranger = FakeKeychain()
    await safe.reopen(stranger)
    with pytest.raises(VaultShut) as shut:
        await safe.read()
    assert shut.value.standing.state == "missing"
    assert stranger.item is None


async def test_closing_leaves_a_prompt_behind_without_waiting_for_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    keychain = FakeKeychain()
    keychain.prompt()
    async with (
        open_database(tmp_path / "salver.db") as database,
        open_vault(
            database, home=tmp_path, install=InstallId("ins-1"), clock=clock, keychain=keychain
        ) as vault,
    ):
        putting = asyncio.get_running_loop().create_task(vault.put(KEY, Secret(VALUE)))
        await asyncio.to_thread(keychain.wait_for_prompt)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
    keychain.answer()
    with closing(sqlite3.connect(tmp_path / "salver.db")) as conn:
        assert conn.execute("SELECT count(*) FROM secrets").fetchone() == (0,)
