"""Which budgets bind a call, and whether it fits: pure decisions, and their sentences for people."""

from dataclasses import dataclass
from typing import Literal, Protocol

from salver_server.calls import Ask
from salver_server.ids import AgentName
from salver_server.kit.money import MILLION, dollars
from salver_server.usage.price import Claim


class Budget(Protocol):
    """What an agent may use, as its AGENT.md says; None sets no limit."""

    @property
    def usd_per_day(self) -> float | None: ...

    @property
    def usd_per_turn(self) -> float | None: ...

    @property
    def usd_per_session(self) -> float | None: ...

    @property
    def tokens_per_day(self) -> int | None: ...


Scope = Literal["house", "day", "turn", "session"]
"""Whose use is summed up: of all agents today, of the agent today, of one turn, of one session."""
Unit = Literal["usd", "tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One budget that binds a call."""

    scope: Scope
    unit: Unit
    most: int
    """Millionths of a dollar, or tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What there is of a budget's unit so far."""

    used: int = 0
    held: int = 0
    """Reserved for calls that are under way."""


def house(usd: float | None) -> list[Limit]:
    """The house's own budget."""
    return [_money("house", usd)] if usd is not None else []


def limits(budget: Budget) -> list[Limit]:
    """The budgets of an agent."""
    money: dict[Scope, float | None] = {
        "day": budget.usd_per_day,
        "turn": budget.usd_per_turn,
        "session": budget.usd_per_session,
    }
    found = [_money(scope, usd) for scope, usd in money.items() if usd is not None]
    if budget.tokens_per_day is not None:
        found.append(Limit(scope="day", unit="tokens", most=budget.tokens_per_day))
    return found


def binding(all_: list[Limit], claim: Claim) -> list[Limit] | None:
    """Those that the call is held to; None where a budget in money can't be held, for want of a price.

    An agent's cap on tokens then stands in for the agent's money, never for the house's.
    """
    if claim.cost is not None:
        return all_
    capped = any(limit.unit == "tokens" for limit in all_)
    money = [limit for limit in all_ if limit.unit == "usd"]
    if any(limit.scope == "house" or not capped for limit in money):
        return None
    return [limit for limit in all_ if limit.unit == "tokens"]


def fits(limit: Limit, use: Use, claim: Claim) -> bool:
    return use.used + use.held + _share(limit, claim) <= limit.most


def over(limit: Limit, use: Use, claim: Claim, agent: AgentName) -> str:
    """Why a call does not fit, and what to do now."""
    who, what, way_on = _words(limit, agent)
    held = f", calls under way hold up to {_amount(limit, use.held)}" if use.held else ""
    return (
        f"{who} used {_amount(limit, use.used)} of {_amount(limit, limit.most)} {what}{held}, and"
        f" this call may take up to {_amount(limit, _share(limit, claim))}. {way_on}"
    )


def unknown(ask: Ask, all_: list[Limit], problem: str) -> str:
    """Why a call of unknown cost is not made, and what to do now."""
    name, budget = ask.model[:80], "SALVER_BUDGET"
    cap = ""
    if not any(limit.scope == "house" for limit in all_):
        budget = f"the budget of '{ask.agent}'"
        cap = ", or add tokens_per_day to that budget"
    what = (
        problem or f"Put its price into prices.toml in the data folder{cap}; then send this again."
    )
    return (
        f"Nobody knows what '{name}' of '{ask.provider}' costs, and {budget} is in dollars. {what}"
    )


def _money(scope: Scope, usd: float) -> Limit:
    return Limit(scope=scope, unit="usd", most=round(usd * MILLION))


def _share(limit: Limit, claim: Claim) -> int:
    if limit.unit == "tokens":
        return claim.tokens
    assert claim.cost is not None, "a budget in money binds only what has a price"
    return claim.cost


def _words(limit: Limit, agent: AgentName) -> tuple[str, str, str]:
    """Who, of what, and how it goes on."""
    match limit.scope:
        case "house":
            return (
                "Your agents have",
                "for today",
                "It goes on after midnight; to go on now, set a higher SALVER_BUDGET and restart Salver.",
            )
        case "day":
            field = "usd_per_day" if limit.unit == "usd" else "tokens_per_day"
            return (
                f"Agent '{agent}' has",
                "for today",
                f"It goes on after midnight; to go on now, raise budget.{field} in its AGENT.md and send this again.",
            )
        case "turn":
            return (
                "This turn has",
                "for one turn",
                f"Raise budget.usd_per_turn in the AGENT.md of '{agent}' and send this again, or ask for less at a time.",
            )
        case "session":
            return (
                "This session has",
                "in all",
                f"Begin a new session, or raise budget.usd_per_session in the AGENT.md of '{agent}' and send this again.",
            )


def _amount(limit: Limit, number: int) -> str:
    return dollars(number) if limit.unit == "usd" else f"{number:,} tokens"
