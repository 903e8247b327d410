"""What a call costs, and what it may cost at most: arithmetic, in millionths of a dollar.

Dollars for a million tokens are millionths of a dollar for one. A call is rounded up once, as a whole.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from salver_server.calls import Ask, Tokens

BYTES_A_TOKEN = 3
"""Text of any language has at least so many in UTF-8; see decisions/0019."""
ADDED = 1000
"""Tokens that a vendor's own frame around a request takes, tools included."""
LONGEST_ANSWER = 16_000
"""Tokens of output that are reserved for a call that sets no limit."""
MOST = 10**12
"""Whatever is larger is so large: a request's numbers are the sandbox's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Dollars for a million tokens."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs."""

    rates: Rates
    long: tuple[tuple[int, Rates], ...] = ()
    """Rates of the whole call once its input is longer than so many tokens, the shortest first."""
    window: int = 0
    """Tokens of context; 0 is unknown."""
    date: str
    """YYYY-MM-DD: the prices were so then."""

    def at(self, tokens: int) -> Rates:
        """The rates of a call with so many tokens of input."""
        found = self.rates
        for above, rates in self.long:
            if tokens > above:
                found = rates
        return found


FREE = Rates(
    input=Decimal(0), output=Decimal(0), cache_read=Decimal(0), cache_write=Decimal(0)
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a call may take."""

    tokens: int
    cost: int | None
    """None where nobody knows the price."""


def claim(ask: Ask, price: Price | None) -> Claim:
    """What to reserve for a call before it is made."""
    input_ = min(max(ask.size, 0) // BYTES_A_TOKEN + ADDED, MOST)
    if price is not None and price.window:
        input_ = min(input_, price.window)
    asked = ask.most_output if ask.most_output is not None and ask.most_output > 0 else None
    output = min(asked, MOST) if asked is not None else LONGEST_ANSWER
    cost = None
    if price is not None:
        rates = price.at(input_)
        dearest = max(rates.input, rates.cache_read, rates.cache_write)
        cost = _up(input_ * dearest + output * rates.output)
    return Claim(tokens=input_ + output, cost=cost)


def cost(tokens: Tokens, price: Price) -> int:
    """What a call cost that took so many tokens."""
    rates = price.at(tokens.input)
    return _up(
        tokens.fresh * rates.input
        + tokens.cache_read * rates.cache_read
        + tokens.cache_write * rates.cache_write
        + tokens.output * rates.output
    )


def _up(micro: Decimal) -> int:
    return int(micro.to_integral_value(rounding=ROUND_CEILING))
