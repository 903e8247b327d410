"""The shape of a call to a model, for those who let it out and those who pay for it.

Tokens are the vendor's own count, read from its answer; what a sandbox says of itself counts nowhere.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from salver_server.errors import NeedsUser
from salver_server.ids import AgentName, CallId, SessionId

Wire = Literal["chat", "responses", "google", "anthropic"]
"""The format that a vendor speaks: OpenAI's two, Google's generateContent, Anthropic's messages."""

LONGEST_MODEL = 200
"""Characters; a longer name is no model's."""


class OverBudget(NeedsUser):
    """The call might cost more than is left of a budget, or nobody can put on record that it doesn't."""


class PriceUnknown(NeedsUser):
    """There is a budget in money, and nobody knows what the call would cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A call that is about to be made."""

    session: SessionId
    agent: AgentName
    turn: int
    """As the runner says; 0 where it says nothing."""
    provider: str
    model: str
    size: int
    """Bytes of the request: it holds at most as many tokens."""
    most_output: int | None
    """Tokens that it asks for at most; None where it sets no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a call took. `input` includes what was read from and written to the vendor's cache."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0

    @property
    def fresh(self) -> int:
        """Input that the cache had nothing to do with; never below zero, whatever a vendor says."""
        return max(0, self.input - self.cache_read - self.cache_write)


class Meter(Protocol):
    """Told of each call, before and after."""

    async def begin(self, ask: Ask) -> CallId:
        """Put the call on record and reserve what it may cost; raises `OverBudget` or `PriceUnknown`."""
        ...

    async def end(self, call: CallId, *, status: int, tokens: Tokens | None) -> None:
        """The call is over; `tokens` is None where the answer told none, as one that was cut off."""
        ...
