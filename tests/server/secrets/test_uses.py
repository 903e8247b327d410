import pytest

from salver_server.errors import Broken
from salver_server.ids import SessionId
from salver_server.kit.secret import Secret
from salver_server.secrets import Use
from tests.server.secrets.conftest import KEY, TOKEN, VALUE, Safe


async def test_each_handing_out_is_on_record_with_its_purpose(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.vault.put(TOKEN, Secret("token"))
    first = safe.clock.stamp()
    session = SessionId("ses-1")
    await safe.vault.get(KEY, purpose="model call", session=session)
    safe.clock.advance(5)
    await safe.vault.get(TOKEN, purpose="channel")
    uses = [
        Use(secret=TOKEN, at=safe.clock.stamp(), session=None, purpose="channel"),
        Use(secret=KEY, at=first, session=session, purpose="model call"),
    ]
    assert await safe.vault.uses() == uses
    assert await safe.vault.uses(KEY) == uses[1:]
    await safe.vault.remove(KEY)
    assert await safe.vault.uses() == uses


async def test_a_use_is_forgotten_after_90_days(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    for day in (0, 1, 90):
        safe.clock.advance(day * 24 * 3600)
        await safe.vault.get(KEY, purpose=f"day {day}")
    assert [use.purpose for use in await safe.vault.uses()] == ["day 90", "day 1"]
    safe.clock.advance(1)
    await safe.vault.get(KEY, purpose="later")
    assert [use.purpose for use in await safe.vault.uses()] == ["later", "day 90"]


async def test_what_was_not_handed_out_was_not_used(safe: Safe) -> None:
    await safe.vault.put(KEY, Secret(VALUE))
    await safe.database.write(lambda conn: conn.execute("UPDATE secrets SET ciphertext = x'00'"))
    with pytest.raises(Broken):
        await safe.read()
    assert await safe.vault.uses() == []
