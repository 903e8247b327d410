"""A person's choice of another model for one conversation: whether it can be, and what is in use."""

from salver_server.accounts.book import Accounts
from salver_server.agents import Definition
from salver_server.calls import LONGEST_MODEL
from salver_server.errors import NeedsUser, Rejected
from salver_server.ids import AgentName


class Wishes:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def said(self, agent: AgentName, definition: Definition) -> str:
        """What turns are run with, for people."""
        try:
            return str(self._accounts.choose(agent, definition))
        except NeedsUser as exc:
            return f"none yet ({exc})"

    def check(self, agent: AgentName, definition: Definition, name: str) -> str:
        """The choice as it is kept for a session, `provider/model`; raises `Rejected` where it cannot be.

        A name whose beginning is a provider's is of that provider, any other of the one in use.
        """
        if len(name) > LONGEST_MODEL:
            raise Rejected(f"A model's name has at most {LONGEST_MODEL} characters. Shorten it.")
        provider, slash, model = name.partition("/")
        if not slash or provider not in self._accounts.specs:
            provider, model = self._in_use(agent, definition), name
        wanted = definition.model_copy(update={"provider": provider, "model": model})
        try:
            chosen = self._accounts.choose(agent, wanted)
        except NeedsUser as exc:
            raise Rejected(str(exc)) from exc
        if not chosen.models:
            raise Rejected(
                f"'{chosen}' calls no model, so there is none to choose. Name a provider as well, like"
                " openai/gpt-5-mini."
            )
        first = chosen.models[0]
        return f"{first.account.provider}/{first.name}"

    def _in_use(self, agent: AgentName, definition: Definition) -> str:
        try:
            now = self._accounts.choose(agent, definition)
        except NeedsUser as exc:
            raise Rejected(str(exc)) from exc
        return now.models[0].account.provider if now.models else definition.provider
