"""Killed at any step of making, moving and rotating a key, everything opens afterwards and there is one key."""

import shutil
from itertools import count
from pathlib import Path

import pytest

from salver_server.ids import InstallId, SecretName
from salver_server.kit.secret import Secret
from salver_server.secrets import Vault, open_vault
from salver_server.secrets.keyfile import KeyFile
from salver_server.store import open_database
from tests.fakes.clock import FakeClock
from tests.fakes.keychain import FakeKeychain
from tests.server.killing import killed
from tests.server.secrets.conftest import KEY, TOKEN, VALUE

FEWEST_STEPS = 4


@pytest.mark.slow
@pytest.mark.parametrize("story", ["put", "allow", "move", "rotate", "rotate-file"])
async def test_a_kill_at_any_step_leaves_one_key_that_opens_everything(
    quick_path: Path, story: str
) -> None:
    before = quick_path / "before"
    await prepare(before, story)
    for steps in count():
        home = quick_path / f"{steps}"
        shutil.copytree(before, home)
        was_killed, _ = killed("tests.server.secrets.kill_child", home, story, f"{steps}")
        await verify(home, story)
        shutil.rmtree(home)
        if not was_killed:
            assert steps >= FEWEST_STEPS, "it was hardly killed at all"
            return


async def prepare(home: Path, story: str) -> None:
    """A folder as the story finds it: with two secrets where there can be some already."""
    (home / "keychain").mkdir(parents=True)
    async with open_database(home / "salver.db") as database:
        in_file = story in ("move", "rotate-file")
        async with open_vault(
            database,
            home=home,
            install=InstallId("ins-1"),
            clock=FakeClock(),
            keychain=absent() if in_file else KeyFile(home / "keychain"),
        ) as vault:
            if in_file:
                await vault.allow_key_file()
            if story not in ("put", "allow"):
                await vault.put(KEY, Secret(VALUE))
                await vault.put(TOKEN, Secret("token"))


def absent() -> FakeKeychain:
    keychain = FakeKeychain()
    keychain.fail("absent")
    return keychain


async def verify(home: Path, story: str) -> None:
    """Everything opens, the story can be told to its end, and everything still opens."""
    keychain = KeyFile(home / "keychain")
    for _ in range(2):
        async with (
            open_database(home / "salver.db") as database,
            open_vault(
                database,
                home=home,
                install=InstallId("ins-1"),
                clock=FakeClock(),
                keychain=absent() if story == "allow" else keychain,
            ) as vault,
        ):
            await everything_opens(vault)
            match story:
                case "put":
                    await vault.put(SecretName("new"), Secret("new"))
                case "allow":
                    await vault.allow_key_file()
                    await vault.put(SecretName("new"), Secret("new"))
                case "move":
                    await vault.move_to_keychain()
                case _:
                    await vault.rotate()
            await everything_opens(vault)
    # One place, one key, and nothing left lying about.
    places = (KeyFile(home), keychain)
    items = [place.get() for place in places if place.exists()]
    assert [len(item.reveal()) for item in items if item is not None] == [44]
    assert not any(leftover(place) for place in places)


def leftover(place: KeyFile) -> bool:
    return place.path.with_suffix(".key.new").exists()


async def everything_opens(vault: Vault) -> None:
    values = {KEY: VALUE, TOKEN: "token", "new": "new"}
    for row in await vault.names():
        secret = await vault.get(row.name, purpose="a test")
        assert secret.reveal() == values[row.name]
