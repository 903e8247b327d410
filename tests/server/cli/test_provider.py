"""`salver provider` and `salver keychain`."""

import pytest

from salver_server.app import Running
from tests.fakes.keychain import FakeKeychain
from tests.server.cli.conftest import Rude, Shell, saying

KEY = "sk-0123456789-do-not-show"

SPEC: dict[str, object] = {
    "name": "openai",
    "title": "OpenAI",
    "wire": "responses",
    "key": "yes",
    "suggested": "m",
    "keys_at": "https://keys.test",
    "default": True,
    "accounts": [],
}


async def kept(house: Running, agent: str = "") -> str:
    """The key as the gateway would get it."""
    (account,) = [one for one in house.rooms.accounts.all() if one.agent == agent]
    key = await house.rooms.accounts.key(account, purpose="a test")
    assert key is not None
    return key.reveal()


@pytest.mark.usefixtures("stopped")
async def test_nothing_is_set_up_at_first(shell: Shell) -> None:
    found = (await shell.ok("provider", "list")).splitlines()
    assert found[0].split() == ["provider", "agent", "model", "address", "key"]
    assert "demo (default)" in found
    assert "openai                           not set up" in found


async def test_a_key_is_read_from_stdin(shell: Shell, stopped: Running) -> None:
    assert await shell.ok("provider", "set", "openai", stdin=f"{KEY}\n") == (
        "OpenAI is set. `salver provider test openai` makes a call.\n"
    )
    assert await kept(stopped) == KEY
    listed = await shell.ok("provider", "list")
    assert "openai (default)   all    gpt-5-mini  https://api.openai.com/v1  kept" in listed


async def test_an_account_is_changed_without_its_key(shell: Shell, stopped: Running) -> None:
    await shell.ok("provider", "set", "openai", stdin=KEY)
    await shell.ok("provider", "set", "openai", "--model", "gpt-9", "--default")
    (account,) = stopped.rooms.accounts.all()
    assert (account.model, account.preferred, await kept(stopped)) == ("gpt-9", True, KEY)


async def test_an_agent_gets_an_account_of_its_own(shell: Shell, stopped: Running) -> None:
    await shell.ok("provider", "set", "openai", "--agent", "salver", stdin=KEY)
    assert await kept(stopped, "salver") == KEY
    await shell.ok("provider", "remove", "openai", "--agent", "salver")
    assert stopped.rooms.accounts.all() == []


@pytest.mark.usefixtures("stopped")
async def test_a_key_that_is_lost_to_a_new_address_is_said(shell: Shell) -> None:
    await shell.ok("provider", "set", "openai", stdin=KEY)
    done = await shell.run("provider", "set", "openai", "--base-url", "https://proxy.test/v1")
    assert done.code == 0
    assert "its key was for the old address and is forgotten" in done.err


async def test_a_key_is_forgotten(shell: Shell, stopped: Running) -> None:
    words = ("provider", "set", "openai-compatible", "--base-url", "https://a.test/v1")
    await shell.ok(*words, stdin=KEY)
    await shell.ok(*words, "--no-key", stdin="not read")
    assert [one.keyed for one in stopped.rooms.accounts.all()] == [False]


async def test_what_wants_no_key_reads_none(shell: Shell, stopped: Running) -> None:
    await shell.ok("provider", "set", "ollama", "--model", "llama", stdin="not a key")
    assert [one.keyed for one in stopped.rooms.accounts.all()] == [False]


@pytest.mark.usefixtures("stopped")
async def test_what_makes_no_account_ends_with_code_2(shell: Shell) -> None:
    for words in (("openai",), ("opnai",), ("openai-compatible",)):
        done = await shell.run("provider", "set", *words)
        assert (done.code, done.out) == (2, "")


# Without a keychain


async def test_without_a_keychain_nothing_is_kept_and_consent_is_explained(
    shell: Shell, stopped: Running, keychain: FakeKeychain
) -> None:
    keychain.fail("absent")
    done = await shell.run("provider", "set", "openai", stdin=KEY)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "salver: Salver finds no keychain on this computer. Start one (GNOME Keyring, KeePassXC or KWallet)"
        " and try again. A key file can be allowed instead as long as no secret is kept."
        " Consent to one with --allow-key-file.\n"
    )
    assert stopped.rooms.accounts.all() == []


async def test_with_consent_a_key_file_stands_in_and_the_banner_lasts(
    shell: Shell, stopped: Running, keychain: FakeKeychain
) -> None:
    keychain.fail("absent")
    await shell.ok("provider", "set", "openai", "--allow-key-file", stdin=KEY)
    assert await kept(stopped) == KEY
    banner = "Your secrets are protected only by file permissions"
    assert banner in await shell.ok("status")
    assert banner in await shell.ok("keychain", "status")


async def test_on_a_terminal_the_key_is_typed_unseen_and_consent_is_asked_for(
    shell: Shell, stopped: Running, keychain: FakeKeychain
) -> None:
    keychain.fail("absent")
    shown = await shell.typed(
        "provider", "set", "openai", after={"Key for": KEY, "Allow a key file?": "y"}
    )
    assert "Keys are made at https://platform.openai.com/api-keys" in shown
    assert "so do backups" in shown
    assert "OpenAI is set." in shown
    assert KEY not in shown
    assert await kept(stopped) == KEY


async def test_whoever_does_not_consent_gets_no_key_file(
    shell: Shell, stopped: Running, keychain: FakeKeychain
) -> None:
    keychain.fail("absent")
    await shell.typed("provider", "set", "openai", after={"Key for": KEY, "Allow a key file?": "n"})
    assert not (shell.home / "secrets.key").exists()
    assert stopped.rooms.accounts.all() == []


@pytest.mark.usefixtures("stopped")
async def test_consent_changes_nothing_where_there_is_a_keychain(shell: Shell) -> None:
    await shell.ok("provider", "set", "openai", "--allow-key-file", stdin=KEY)
    assert not (shell.home / "secrets.key").exists()


@pytest.mark.usefixtures("stopped")
async def test_a_key_file_is_allowed_and_the_key_moves_to_the_keychain_later(
    shell: Shell, keychain: FakeKeychain
) -> None:
    keychain.fail("absent")
    assert (await shell.run("keychain", "unlock")).code == 1
    await shell.ok("keychain", "allow-file")
    await shell.ok("provider", "set", "openai", stdin=KEY)
    keychain.fail(None)
    await shell.ok("keychain", "move")
    await shell.ok("keychain", "rotate")
    assert not (shell.home / "secrets.key").exists()
    assert "rests in your keychain" in await shell.ok("keychain", "status")


async def test_uses_are_listed(shell: Shell, stopped: Running) -> None:
    assert await shell.ok("keychain", "uses") == "No secret was used yet.\n"
    await shell.ok("provider", "set", "openai", stdin=KEY)
    await kept(stopped)
    listed = await shell.ok("keychain", "uses", "provider.openai")
    assert listed.splitlines()[1].split()[1:] == ["provider.openai", "a", "test"]
    assert (await shell.run("keychain", "uses", "provider.google", "--json")).json == []


# A real call


@pytest.mark.usefixtures("stopped")
async def test_a_test_of_the_demo_always_works(shell: Shell) -> None:
    assert await shell.ok("provider", "test", "demo") == (
        "Demo (no model) calls nobody, and always works.\n"
    )


async def test_a_test_that_fails_says_why_and_ends_with_code_1(shell: Shell, rude: Rude) -> None:
    says = {"works": False, "model": "m", "says": "OpenAI has no model 'm'.", "models": ["a", "b"]}
    rude.answers = [saying(says)]
    done = await shell.run("provider", "test", "openai", "--model", "m")
    assert done.code == 1
    assert done.out == "OpenAI has no model 'm'.\nIt offers, among others: a, b\n"
    assert rude.bodies == [{"agent": "", "model": "m"}]


async def test_a_key_travels_in_a_body_and_in_no_address(shell: Shell, rude: Rude) -> None:
    rude.answers = [saying([SPEC]), saying({"key_dropped": False})]
    await shell.ok("provider", "set", "openai", stdin=KEY)
    assert rude.asked == ["GET /providers", "PUT /providers/openai"]
    assert rude.bodies[1]["key"] == KEY
