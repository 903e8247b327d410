"""Which models an agent's turns are run with, in the order in which they are tried: a pure decision."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from salver_server.accounts.store import EVERYONE, Account
from salver_server.agents import Definition
from salver_server.calls import Wire
from salver_server.errors import NeedsUser
from salver_server.ids import AgentName
from salver_server.providers import ProviderSpec, Runner

Specs = Mapping[str, ProviderSpec]
Known = Callable[[str, str], tuple[int, bool]]
"""Of a provider's model: tokens that its window holds (0: unknown), and whether it takes images."""

DEMO = "demo"
"""Serves whoever has no account at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model that a turn may be run with, and the account that pays for it."""

    account: Account
    wire: Wire
    name: str
    window: int
    sees: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an agent's turns are run with."""

    runner: Runner
    pack: str | None
    models: tuple[Model, ...] = ()
    """In fail-over order; empty for a provider that calls nobody."""

    def __str__(self) -> str:
        """For people: its models in their order, or the provider that calls none."""
        return ", ".join(f"{one.account.provider}/{one.name}" for one in self.models) or self.runner

    @property
    def version(self) -> str:
        """Tells one choice from another, changes of an account included."""
        parts = [self.runner, self.pack or ""]
        for model in self.models:
            account = model.account
            parts += [account.provider, account.agent, account.base_url, account.changed_at]
            parts += [model.wire, model.name, str(model.window), str(model.sees)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def choose(
    agent: AgentName,
    definition: Definition,
    *,
    specs: Specs,
    accounts: Sequence[Account],
    known: Known,
) -> Choice:
    """Raises `NeedsUser` when the agent's first choice can't be had, or its fail-over makes no sense."""
    usable = serving(accounts, agent)
    name = definition.provider or default(usable.values())
    spec = _spec(specs, name)
    fallback = list(_fallback(specs, definition.fallback))
    others = [other.title for other, _ in fallback if other.runner != spec.runner]
    if spec.wire is None:
        if fallback:
            raise NeedsUser(
                f"{spec.title} calls no model, so none can stand in for it. Set a provider up with"
                " `salver provider set NAME`, or remove 'fallback' from AGENT.md."
            )
        return Choice(runner=spec.runner, pack=spec.pack)
    if others:
        raise NeedsUser(
            f"{others[0]} takes turns in another way than {spec.title} and cannot stand in for it."
            " Remove it from 'fallback' in AGENT.md."
        )
    models = [_model(spec, usable.get(name), definition.model, known)]
    for other, model in fallback:
        account = usable.get(other.name)
        if account is not None and _lacks(other, account, model) is None:
            models.append(_model(other, account, model, known))
    return Choice(runner=spec.runner, pack=spec.pack, models=_once(models))


def serving(accounts: Iterable[Account], agent: AgentName) -> dict[str, Account]:
    """By provider: the accounts that serve this agent. Its own goes before everyone's, as a whole."""
    found: dict[str, Account] = {}
    for account in accounts:
        if account.agent == agent or (account.agent == EVERYONE and account.provider not in found):
            found[account.provider] = account
    return found


def default(usable: Iterable[Account]) -> str:
    """The provider of an agent that names none: the preferred one, else the one that was set first."""
    first = min(usable, key=lambda one: (not one.preferred, one.created_at), default=None)
    return DEMO if first is None else first.provider


def _spec(specs: Specs, name: str) -> ProviderSpec:
    spec = specs.get(name)
    if spec is None:
        raise NeedsUser(
            f"There is no provider '{name}'. Choose one of {', '.join(sorted(specs))} in AGENT.md."
        )
    return spec


def _fallback(specs: Specs, words: Sequence[str]) -> Iterator[tuple[ProviderSpec, str]]:
    """Each word is a provider, or a provider and a model behind a slash."""
    for word in words:
        name, _, model = word.partition("/")
        yield _spec(specs, name), model


def _model(spec: ProviderSpec, account: Account | None, model: str, known: Known) -> Model:
    lack = _lacks(spec, account, model)
    if account is None or lack is not None:
        raise NeedsUser(f"{spec.title} {lack}")
    assert spec.wire is not None, "one that calls nobody was told apart before"
    name = model or account.model or spec.suggested
    window, sees = known(spec.name, name)
    return Model(account=account, wire=spec.wire, name=name, window=window, sees=sees)


def _lacks(spec: ProviderSpec, account: Account | None, model: str) -> str | None:
    """What stands in the way of using an account, and what to do about it; None if nothing."""
    set_it = f"salver provider set {spec.name}"
    if account is None:
        return f"is not set up yet. `{set_it}` does it."
    if account.agent:
        set_it += f" --agent {account.agent}"
    if spec.key == "yes" and not account.keyed:
        return f"has no key. `{set_it}` asks for one."
    if not (model or account.model or spec.suggested):
        return f"needs to be told a model: `{set_it} --model NAME`, or a line 'model: NAME' in AGENT.md."
    return None


def _once(models: Iterable[Model]) -> tuple[Model, ...]:
    """Without what is tried before in the same turn."""
    found: dict[tuple[str, str], Model] = {}
    for model in models:
        found.setdefault((model.account.provider, model.name), model)
    return tuple(found.values())
