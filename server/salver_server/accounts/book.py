"""The accounts as they are now, and the one way in which they change.

A key goes to the address that it was given for, and to no other. So an account whose address changes has no
key from before that until the new one is in the vault: a kill in between leaves it without one, and says so.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

from salver_server.accounts import store
from salver_server.accounts.choice import Choice, Known, choose, default, serving
from salver_server.accounts.store import EVERYONE, PREFIX, Account
from salver_server.agents import Definition
from salver_server.clock import Clock, stamp
from salver_server.errors import Missing, NeedsUser, Rejected, SalverError
from salver_server.gateway.upstream import check_address
from salver_server.ids import AgentName, SessionId
from salver_server.kit.hosts import is_loopback
from salver_server.kit.secret import Secret
from salver_server.providers import ProviderSpec
from salver_server.secrets import Vault
from salver_server.store import Database

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An account that was set, and whether that cost it its key."""

    account: Account
    key_dropped: bool


class Accounts:
    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        clock: Clock,
        specs: Mapping[str, ProviderSpec],
        known: Known,
    ) -> None:
        self.specs = specs
        self._database = database
        self._vault = vault
        self._clock = clock
        self._known = known
        self._changing = asyncio.Lock()
        self._accounts: dict[tuple[str, AgentName], Account] = {}

    async def open(self) -> None:
        """Read what there is, and finish removals that were cut off."""
        await self._refresh()
        used = {account.secret for account in self._accounts.values() if account.keyed}
        for row in await self._vault.names():
            if row.name.startswith(f"{PREFIX}.") and row.name not in used:
                await self._vault.remove(row.name)

    def all(self) -> list[Account]:
        """In the order in which they were set."""
        return list(self._accounts.values())

    def default(self) -> str:
        """The provider of agents that name none and have no account of their own."""
        return default(serving(self.all(), EVERYONE).values())

    def is_local(self, provider: str, agent: AgentName) -> bool:
        """Whether this agent's calls to the provider stay on this computer."""
        account = serving(self.all(), agent).get(provider)
        return account is not None and is_loopback(urlsplit(account.base_url).hostname or "")

    def spec(self, provider: str) -> ProviderSpec:
        """Raises `Missing`."""
        spec = self.specs.get(provider)
        if spec is None:
            raise Missing(
                f"There is no provider '{provider}'. Providers: {', '.join(sorted(self.specs))}."
            )
        return spec

    def choose(self, agent: AgentName, definition: Definition) -> Choice:
        """What the agent's turns are run with; asks memory only. Raises `NeedsUser` with what is lacking."""
        return choose(agent, definition, specs=self.specs, accounts=self.all(), known=self._known)

    async def put(
        self,
        provider: str,
        agent: AgentName = EVERYONE,
        *,
        base_url: str | None = None,
        model: str | None = None,
        plain_http: bool | None = None,
        key: Secret | None = None,
        without_key: bool = False,
        preferred: bool = False,
    ) -> Kept:
        """Set an account up or change it; what is not given stays, or is the provider's.

        Raises `Rejected` for what makes no account, and `VaultShut` when the key can't be kept; then nothing
        was changed.
        """
        spec = self.spec(provider)
        async with self._changing:
            before = self._accounts.get((provider, agent))
            now = stamp(self._clock.now())
            account = Account(
                provider=provider,
                agent=agent,
                base_url=_given(base_url, before and before.base_url, spec.base_url).rstrip("/"),
                model=_given(model, before and before.model, ""),
                plain_http=_given(plain_http, before and before.plain_http, False),
                keyed=False,
                preferred=preferred or (before is not None and before.preferred),
                created_at=before.created_at if before else now,
                changed_at=now,
            )
            moved = before is not None and before.base_url != account.base_url
            had = before is not None and before.keyed
            if had and not moved and not without_key:
                account = replace(account, keyed=True)
            dropped = had and moved and key is None and not without_key
            _check(spec, account, key, excused=dropped)
            if key is None:
                await self._keep(account)
                if not account.keyed:
                    await self._forget_key(account)
            else:
                await self._keep_with_key(replace(account, keyed=True), key, before)
        logger.info("account set", extra={"provider": provider, "agent": agent or "*"})
        return Kept(account=self._accounts[provider, agent], key_dropped=dropped)

    async def remove(self, provider: str, agent: AgentName = EVERYONE) -> None:
        """Raises `Missing`."""
        self.spec(provider)
        async with self._changing:
            account = self._accounts.get((provider, agent))
            if account is None:
                whose = f" of agent '{agent}'" if agent else ""
                raise Missing(f"There is no account{whose} with the provider '{provider}'.")
            await self._remove(account)

    async def remove_all_of(self, agent: AgentName) -> None:
        """What an agent that is removed has of its own: the next one of that name is another."""
        async with self._changing:
            for account in self.all():
                if account.agent == agent:
                    await self._remove(account)

    async def key(
        self, account: Account, *, purpose: str, session: SessionId | None = None
    ) -> Secret | None:
        """The key for exactly the address of this account; None where it has none and wants none.

        Raises `Missing` where it wants one, `NeedsUser` where calls may go there no longer, and `VaultShut`.
        """
        before = self._now(account)
        if not before.keyed:
            if self.spec(account.provider).key == "yes":
                raise Missing(f"There is no key for '{account.provider}'.")
            return None
        secret = await self._vault.get(account.secret, purpose=purpose, session=session)
        if self._now(account) is not before:  # perhaps it is the key for another address
            raise _changed(account)
        return secret

    def _now(self, account: Account) -> Account:
        found = self._accounts.get((account.provider, account.agent))
        if found is None or found.base_url != account.base_url:
            raise _changed(account)
        return found

    async def _keep_with_key(self, account: Account, key: Secret, before: Account | None) -> None:
        moves = before is not None and before.base_url != account.base_url
        if before is not None and moves:
            await self._keep(replace(before, keyed=False))
        try:
            await self._vault.put(account.secret, key)
        except SalverError:  # and so it is still the old one that is in the vault
            if before is not None and moves:
                await self._keep(before)
            raise
        await self._keep(account)

    async def _remove(self, account: Account) -> None:
        await self._database.write(lambda conn: store.remove(conn, account))
        await self._refresh()
        await self._forget_key(account)
        logger.info("account removed", extra={"provider": account.provider, "agent": account.agent or "*"})  # fmt: skip

    async def _forget_key(self, account: Account) -> None:
        if any(row.name == account.secret for row in await self._vault.names()):
            await self._vault.remove(account.secret)

    async def _keep(self, account: Account) -> None:
        await self._database.write(lambda conn: store.keep(conn, account))
        await self._refresh()

    async def _refresh(self) -> None:
        rows = await self._database.read(store.accounts)
        self._accounts = {(row.provider, row.agent): row for row in rows}


def _changed(account: Account) -> NeedsUser:
    return NeedsUser(
        f"The account with '{account.provider}' was changed or removed meanwhile. `salver provider list`"
        " shows what is set up."
    )


def _check(spec: ProviderSpec, account: Account, key: Secret | None, *, excused: bool) -> None:
    """Raises `Rejected` for what makes no account, before anything is changed."""
    if account.preferred and account.agent:
        raise Rejected(
            "An agent's own account cannot be everyone's default. Leave --agent or --default out."
        )
    if spec.wire is None:
        if key is not None or account.base_url or account.model:
            raise Rejected(f"{spec.title} calls nobody: it takes no address, no model and no key.")
        return
    if not account.base_url:
        raise Rejected(
            f"{spec.title} can be anywhere: say where with --base-url, like https://host/v1."
        )
    try:
        check_address(account.base_url, plain=account.plain_http)
    except NeedsUser as exc:
        raise Rejected(f"{spec.title}: {exc}") from exc
    if key is None:
        if spec.key == "yes" and not account.keyed and not excused:
            raise Rejected(f"{spec.title} wants a key. Make one at {spec.keys_at} and give it.")
    elif spec.key == "no":
        raise Rejected(
            f"{spec.title} takes no key. For a server that wants one use the provider openai-compatible."
        )
    elif any(not "!" <= letter <= "~" for letter in key.reveal()):
        raise Rejected("The key holds a blank or a letter that no key has. Copy it once more.")


Value = TypeVar("Value")


def _given(given: Value | None, before: Value | None, otherwise: Value) -> Value:
    if given is not None:
        return given
    return otherwise if before is None else before
