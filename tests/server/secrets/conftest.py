"""A vault whose keychain does what the test tells it, and which can be opened anew as after a restart."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from salver_server.ids import InstallId, SecretName
from salver_server.kit.secret import Secret
from salver_server.secrets import Vault, open_vault
from salver_server.secrets.keyfile import KeyFile
from salver_server.store import Database
from tests.fakes.clock import FakeClock
from tests.fakes.keychain import FakeKeychain

KEY = SecretName("openai.api-key")
VALUE = "sk-0123456789-do-not-show"
TOKEN = SecretName("telegram.token")


@dataclass(slots=True, kw_only=True)
class Safe:
    """One data folder, its keychain, and the vault that is open on them."""

    database: Database
    home: Path
    clock: FakeClock
    keychain: FakeKeychain
    stack: AsyncExitStack
    vault: Vault = field(init=False)

    @property
    def file(self) -> KeyFile:
        return KeyFile(self.home)

    async def reopen(self, keychain: FakeKeychain | None = None) -> Vault:
        """The vault as a server finds it that has just started."""
        if keychain is not None:
            self.keychain = keychain
        await self.stack.aclose()
        self.vault = await self.stack.enter_async_context(
            open_vault(
                self.database,
                home=self.home,
                install=InstallId("ins-1"),
                clock=self.clock,
                keychain=self.keychain,
            )
        )
        return self.vault

    async def read(self, name: SecretName = KEY) -> str:
        return (await self.vault.get(name, purpose="a test")).reveal()

    async def with_file(self) -> Vault:
        """A vault whose key rests in the key file, with one secret in it; its keychain is there again."""
        self.keychain.fail("absent")
        await self.vault.allow_key_file()
        await self.vault.put(KEY, Secret(VALUE))
        self.keychain.fail(None)
        return await self.reopen()

    async def versions(self) -> list[str]:
        """The key that each secret is sealed with."""
        return await self.database.read(
            lambda conn: [
                row[0] for row in conn.execute("SELECT key_version FROM secrets ORDER BY name")
            ]
        )


@pytest.fixture
async def safe(database: Database, quick_path: Path, clock: FakeClock) -> AsyncIterator[Safe]:
    async with AsyncExitStack() as stack:
        safe = Safe(
            database=database,
            home=quick_path,
            clock=clock,
            keychain=FakeKeychain(),
            stack=stack,
        )
        await safe.reopen()
        yield safe
        safe.keychain.answer()
