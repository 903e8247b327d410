"""Which models an agent's turns are run with."""

from dataclasses import dataclass, field

import pytest

from salver_server.accounts import Account, Choice
from salver_server.accounts.choice import choose
from salver_server.agents import Definition
from salver_server.errors import NeedsUser
from salver_server.providers import discover
from tests.server.accounts.conftest import ADA, account, known

OPENAI = account("openai")
OPENROUTER = account("openrouter", created_at="2026-03-02T12:00:00.000Z")
OLLAMA = account("ollama", keyed=False, model="llama", created_at="2026-03-03T12:00:00.000Z")


def chosen(*accounts: Account, provider: str = "", model: str = "", fallback: str = "") -> Choice:
    definition = Definition(provider=provider, model=model, fallback=fallback.split())
    return choose(ADA, definition, specs=discover(), accounts=accounts, known=known)


@dataclass(frozen=True, kw_only=True)
class Case:
    id: str
    accounts: tuple[Account, ...] = ()
    provider: str = ""
    model: str = ""
    fallback: str = ""
    runs_with: str


@pytest.mark.parametrize(
    "case",
    [
        Case(id="nothing-set", runs_with="demo"),
        Case(id="the-only-one", accounts=(OPENAI,), runs_with="openai/gpt-5-mini"),
        Case(id="named-model", accounts=(OPENAI,), model="gpt-9", runs_with="openai/gpt-9"),
        Case(
            id="the-accounts-model",
            accounts=(account("openai", model="gpt-8"),),
            runs_with="openai/gpt-8",
        ),
        Case(
            id="a-named-model-goes-before-the-accounts",
            accounts=(account("openai", model="gpt-8"),),
            model="gpt-9",
            runs_with="openai/gpt-9",
        ),
        Case(id="named-provider", accounts=(OPENAI, OLLAMA), provider="ollama", runs_with="ollama/llama"),
        Case(id="demo-by-name", accounts=(OPENAI,), provider="demo", runs_with="demo"),
        Case(id="the-first-that-was-set", accounts=(OLLAMA, OPENAI), runs_with="openai/gpt-5-mini"),
        Case(
            id="the-preferred",
            accounts=(OPENAI, account("ollama", keyed=False, model="llama", preferred=True)),
            runs_with="ollama/llama",
        ),
        Case(
            id="its-own-goes-before-everyones",
            accounts=(account("openai", "ada", model="own"), account("openai", model="all")),
            runs_with="openai/own",
        ),
        Case(
            id="its-own-as-a-whole",
            accounts=(account("openai", model="all"), account("openai", "ada")),
            runs_with="openai/gpt-5-mini",
        ),
        Case(
            id="another-agents-is-none-of-its",
            accounts=(account("openai", "bob"), OLLAMA),
            runs_with="ollama/llama",
        ),
        Case(
            id="fail-over",
            accounts=(OPENAI, OPENROUTER, OLLAMA),
            fallback="openrouter/anthropic/claude-9 ollama",
            runs_with="openai/gpt-5-mini, openrouter/anthropic/claude-9, ollama/llama",
        ),
        Case(
            id="fail-over-to-another-model",
            accounts=(OPENAI,),
            fallback="openai/gpt-5-nano openai",
            runs_with="openai/gpt-5-mini, openai/gpt-5-nano",
        ),
        Case(
            id="what-cannot-stand-in-is-left-out",
            accounts=(OPENAI, OPENROUTER, account("google", keyed=False)),
            fallback="ollama openrouter google",
            runs_with="openai/gpt-5-mini",
        ),
    ],
    ids=lambda case: case.id,
)  # fmt: skip
def test_what_an_agent_runs_with(case: Case) -> None:
    found = chosen(*case.accounts, provider=case.provider, model=case.model, fallback=case.fallback)
    assert str(found) == case.runs_with


@dataclass(frozen=True, kw_only=True)
class Lack:
    id: str
    accounts: tuple[Account, ...] = ()
    provider: str = ""
    fallback: str = ""
    says: str


@pytest.mark.parametrize(
    "case",
    [
        Lack(id="no-such-provider", provider="opnai", says="There is no provider 'opnai'. Choose one of anthropic, demo,"),
        Lack(id="not-set-up", provider="openai", says="OpenAI is not set up yet. `salver provider set openai`"),
        Lack(id="no-key", accounts=(account("openai", keyed=False),), says="OpenAI has no key. `salver provider set openai` asks"),
        Lack(
            id="no-key-of-its-own",
            accounts=(OPENAI, account("openai", "ada", keyed=False)),
            says="OpenAI has no key. `salver provider set openai --agent ada` asks",
        ),
        Lack(id="no-model", accounts=(OPENROUTER,), says="OpenRouter needs to be told a model: `salver provider set openrouter --model"),
        Lack(id="a-typo-in-fallback", accounts=(OPENAI,), fallback="olama", says="There is no provider 'olama'"),
        Lack(id="demo-does-not-stand-in", accounts=(OPENAI,), fallback="demo", says="Demo .* takes turns in another way than OpenAI"),
        Lack(id="nothing-stands-in-for-demo", fallback="openai", says="Demo .* calls no model, so none can stand in for it"),
    ],
    ids=lambda case: case.id,
)  # fmt: skip
def test_what_is_lacking_is_said_with_what_to_do(case: Lack) -> None:
    with pytest.raises(NeedsUser, match=case.says):
        chosen(*case.accounts, provider=case.provider, fallback=case.fallback)


def test_what_is_known_of_a_model_comes_along() -> None:
    choice = chosen(OPENAI, OLLAMA, fallback="ollama")
    assert (choice.runner, choice.pack) == ("pydantic-ai", "pydantic-ai")
    assert [(m.name, m.wire, m.window, m.sees, m.account) for m in choice.models] == [
        ("gpt-5-mini", "responses", 10, True, OPENAI),
        ("llama", "chat", 5, False, OLLAMA),
    ]


@dataclass(frozen=True, kw_only=True)
class Names:
    secret: str
    account: Account = field(default_factory=lambda: OPENAI)


@pytest.mark.parametrize(
    "case",
    [
        Names(secret="provider.openai"),
        Names(secret="provider.openai.ada", account=account("openai", "ada")),
    ],
    ids=lambda case: case.secret,
)
def test_a_key_has_the_name_of_its_account(case: Names) -> None:
    assert case.account.secret == case.secret
