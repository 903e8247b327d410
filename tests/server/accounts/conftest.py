"""Accounts over a real vault, whose keychain does what the test tells it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from salver_server.accounts import EVERYONE, Account, Accounts
from salver_server.clock import Stamp
from salver_server.ids import AgentName, InstallId
from salver_server.kit.secret import Secret
from salver_server.providers import discover
from salver_server.secrets import Vault, open_vault
from salver_server.store import Database
from tests.fakes.clock import FakeClock
from tests.fakes.keychain import FakeKeychain

KEY = "sk-0123456789-do-not-show"
ADA = AgentName("ada")


def known(provider: str, model: str) -> tuple[int, bool]:
    """A window that tells one model from another."""
    return len(model), provider == "openai"


@dataclass(slots=True, kw_only=True)
class Desk:
    """One data folder's accounts, and what they are made of."""

    database: Database
    vault: Vault
    clock: FakeClock
    keychain: FakeKeychain
    accounts: Accounts

    async def reopen(self) -> Accounts:
        """The accounts as a server finds them that has just started."""
        self.accounts = Accounts(
            database=self.database,
            vault=self.vault,
            clock=self.clock,
            specs=discover(),
            known=known,
        )
        await self.accounts.open()
        return self.accounts

    def get(self, provider: str, agent: AgentName = EVERYONE) -> Account:
        (found,) = [a for a in self.accounts.all() if (a.provider, a.agent) == (provider, agent)]
        return found

    async def key(self, provider: str, agent: AgentName = EVERYONE) -> str | None:
        """The key as the gateway would get it."""
        key = await self.accounts.key(self.get(provider, agent), purpose="a test")
        return None if key is None else key.reveal()

    async def secrets(self) -> list[str]:
        return [row.name for row in await self.vault.names()]


@pytest.fixture
async def desk(
    database: Database, quick_path: Path, clock: FakeClock, keychain: FakeKeychain
) -> AsyncIterator[Desk]:
    async with open_vault(
        database, home=quick_path, install=InstallId("ins-1"), clock=clock, keychain=keychain
    ) as vault:
        desk = Desk(
            database=database,
            vault=vault,
            clock=clock,
            keychain=keychain,
            accounts=Accounts(
                database=database, vault=vault, clock=clock, specs=discover(), known=known
            ),
        )
        yield desk


def key(text: str = KEY) -> Secret:
    return Secret(text)


def account(provider: str, agent: str = "", **fields: object) -> Account:
    """An account as somebody set it up at noon, with a key."""
    found: dict[str, object] = {
        "provider": provider,
        "agent": agent,
        "base_url": "https://api.test/v1",
        "model": "",
        "plain_http": False,
        "keyed": True,
        "preferred": False,
        "created_at": Stamp("2026-03-01T12:00:00.000Z"),
        "changed_at": Stamp("2026-03-01T12:00:00.000Z"),
    }
    return Account(**{**found, **fields})  # pyright: ignore[reportArgumentType] - as written above
