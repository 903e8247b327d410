from salver_server.accounts import EVERYONE
from salver_server.ids import SecretName
from tests.fakes.keychain import FakeKeychain
from tests.server.api.conftest import House

KEY = "sk-0123456789-do-not-show"


async def state(house: House) -> str:
    return (await house.ask("GET", "/keychain"))["state"]


async def test_nobody_asks_a_keychain_before_a_key_is_needed(
    house: House, keychain: FakeKeychain
) -> None:
    assert (await state(house), keychain.calls) == ("unasked", [])
    await house.ask("PUT", "/providers/openai", {"key": KEY})
    assert await state(house) == "ready"


async def test_a_keychain_is_unlocked_at_a_person_s_word(
    house: House, keychain: FakeKeychain
) -> None:
    keychain.fail("locked")
    found = await house.ask("POST", "/keychain/unlock")
    assert (found["state"], found["advice"][:24]) == ("locked", "Your keychain is locked.")
    keychain.fail(None)
    assert (await house.ask("POST", "/keychain/unlock"))["state"] == "ready"


async def test_without_a_keychain_a_key_is_kept_only_once_a_file_is_allowed(
    house: House, keychain: FakeKeychain
) -> None:
    keychain.fail("absent")
    status, kind, message = await house.refused("PUT", "/providers/openai", {"key": KEY})
    assert (status, kind) == (424, "VaultShut")
    assert message.startswith("Salver finds no keychain on this computer.")
    assert house.running.rooms.accounts.all() == []
    assert (await house.ask("POST", "/keychain/allow-file"))["state"] == "file"
    await house.ask("PUT", "/providers/openai", {"key": KEY})
    assert (await house.ask("GET", "/status"))["keychain"]["state"] == "file"
    keychain.fail(None)
    assert (await house.ask("POST", "/keychain/move"))["state"] == "ready"


async def test_everything_is_sealed_anew(house: House, keychain: FakeKeychain) -> None:
    await house.ask("PUT", "/providers/openai", {"key": KEY})
    before = keychain.item
    assert (await house.ask("POST", "/keychain/rotate"))["state"] == "ready"
    assert keychain.item != before


async def test_what_a_secret_was_used_for_is_told(house: House) -> None:
    rooms = house.running.rooms
    for provider in ("openai", "google"):
        await house.ask("PUT", f"/providers/{provider}", {"key": KEY})
    for account in rooms.accounts.all():
        assert account.agent == EVERYONE
        await rooms.accounts.key(account, purpose="model calls")
    every = await house.ask("GET", "/keychain/uses")
    assert {use["secret"] for use in every} == {"provider.openai", "provider.google"}
    (use,) = await house.ask("GET", f"/keychain/uses?secret={SecretName('provider.openai')}")
    assert use == {
        "secret": "provider.openai",
        "at": house.clock.stamp(),
        "session": None,
        "purpose": "model calls",
    }
