"""A session's way out to the models that were chosen for it: the gateway's door, and the runner's packages."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from salver_server.accounts.book import Accounts
from salver_server.accounts.choice import Choice, Model
from salver_server.accounts.store import Account
from salver_server.agents import Definition
from salver_server.calls import Wire
from salver_server.gateway import Gateway
from salver_server.ids import AgentName, SessionId
from salver_server.kit.secret import Secret


class Packs(Protocol):
    """The packages that runners import, as `providers.packs` makes them."""

    async def ready(self, name: str, *, say: Callable[[str], None]) -> Path: ...


class ModelGate:
    """What the keeper asks of accounts, gateway and packs together."""

    def __init__(self, *, gateway: Gateway, packs: Packs, accounts: Accounts) -> None:
        self._gateway = gateway
        self._packs = packs
        self._accounts = accounts

    def choose(self, agent: AgentName, definition: Definition) -> Choice:
        return self._accounts.choose(agent, definition)

    async def open(
        self, session: SessionId, path: Path, *, agent: AgentName, token_hash: bytes, choice: Choice
    ) -> None:
        # Also where no model is called: it is the way to the web as well.
        await self._gateway.open(
            session,
            path,
            agent=agent,
            token_hash=token_hash,
            upstreams=upstreams(
                self._accounts, choice.models, purpose="model calls", session=session
            ),
        )

    async def close(self, session: SessionId) -> None:
        await self._gateway.close(session)

    async def packs(self, choice: Choice, say: Callable[[str], None]) -> dict[str, Path]:
        return {choice.pack: await self._packs.ready(choice.pack, say=say)} if choice.pack else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountUpstream:
    """An account as the gateway calls it, which asks for its key by the first call and keeps it."""

    name: str
    title: str
    wire: Wire
    models: frozenset[str]
    account: Account
    accounts: Accounts
    purpose: str
    session: SessionId | None

    @property
    def url(self) -> str:
        return self.account.base_url

    @property
    def plain(self) -> bool:
        return self.account.plain_http

    async def key(self) -> Secret | None:
        return await self.accounts.key(self.account, purpose=self.purpose, session=self.session)


def upstreams(
    accounts: Accounts, models: tuple[Model, ...], *, purpose: str, session: SessionId | None
) -> list[AccountUpstream]:
    """One for each account that the models are called with."""
    by_provider: dict[str, list[Model]] = {}
    for model in models:
        by_provider.setdefault(model.account.provider, []).append(model)
    return [
        AccountUpstream(
            name=name,
            title=accounts.spec(name).title,
            wire=its[0].wire,
            models=frozenset(model.name for model in its),
            account=its[0].account,
            accounts=accounts,
            purpose=purpose,
            session=session,
        )
        for name, its in by_provider.items()
    ]
