"""A person's choice of another model for one conversation: whether it can be, and what is in use."""

from salver_server.accounts.book import Accounts
from salver_server.agents import Definition
from salver_server.errors import NeedsUser, Rejected
from salver_server.ids import AgentName

LONGEST_MODEL = 200


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
        """The choice as it is kept for a session; raises `Rejected` where it cannot be."""
        if len(name) > LONGEST_MODEL:
            raise Rejected(f"A model's name has at most {LONGEST_MODEL} characters. Shorten it.")
        try:
            now = self._accounts.choose(agent, definition)
        except NeedsUser as exc:
            raise Rejected(str(exc)) from exc
        if not now.models:
            raise Rejected(f"'{now}' calls no model, so there is none to choose.")
        return name.removeprefix(f"{now.models[0].account.provider}/") or name
