"""The ledger of model calls: each is on record before it is made, and what it took once it is over.

Where a budget binds, a call is made only after its reservation is on disk; where none does, its caller
waits for nothing. A call that the server did not live to see the end of is settled at the next start.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta, tzinfo
from sqlite3 import Connection

from salver_server.calls import LONGEST_MODEL, Ask, OverBudget, PriceUnknown, Tokens
from salver_server.clock import Clock, Stamp, stamp
from salver_server.ids import AgentName, CallId, SessionId
from salver_server.store import Database
from salver_server.usage import store
from salver_server.usage.budgets import (
    Budget,
    Limit,
    Use,
    binding,
    fits,
    house,
    limits,
    over,
    unknown,
)
from salver_server.usage.days import Day, day_of
from salver_server.usage.price import MOST, Claim, Price, claim, cost
from salver_server.usage.prices import Prices
from salver_server.usage.store import Ended, Opened, Whose

logger = logging.getLogger(__name__)

REMEMBERED = timedelta(days=400)
"""Calls older than this are forgotten one by one; the sums of their days stay."""
MOST_CALLS = 1_000_000
"""The same for calls beyond the latest million: a sandbox may make as many as it likes."""
LONGEST_TURN = timedelta(days=1)
"""A runner that begins anew numbers its turns anew: what is older is of another turn."""

Local = Callable[[str, AgentName], bool]
"""Whether calls of an agent to a provider stay on this computer."""
BudgetOf = Callable[[AgentName], Awaitable[Budget | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a budget of the day stands."""

    agent: AgentName
    """Empty for the house's own."""
    limit: Limit
    use: Use


class Ledger:
    """The meter of model calls."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        prices: Prices,
        house_usd: float | None,
        budget_of: BudgetOf,
        local: Local,
        zone: tzinfo | None = None,
    ) -> None:
        """`zone` is whose midnight ends a day: the computer's own unless given."""
        self._database = database
        self._clock = clock
        self._prices = prices
        self._house = house(house_usd)
        self._budget_of = budget_of
        self._local = local
        self._zone = zone
        self._last = 0
        self._open: dict[CallId, Opened] = {}

    async def open(self) -> None:
        """Settle the calls whose end an earlier server did not live to see."""
        now = stamp(self._clock.now())
        self._last = await self._database.write(lambda conn: _settle_lost(conn, now))

    async def begin(self, ask: Ask) -> CallId:
        """See `Meter`; without a budget it returns before anything is written."""
        all_ = await self._limits(ask.agent)
        if all_:
            call = await self._reserved(ask, all_)
        else:
            call = self._opened(ask, None)
            self._database.post(lambda conn: store.begin(conn, call)).add_done_callback(_complain)
        self._open[call.id] = call
        return call.id

    async def end(self, call: CallId, *, status: int, tokens: Tokens | None) -> None:
        """See `Meter`; whoever stops waiting for it does not keep it from being written."""
        opened = self._open.pop(call)
        ended = self._ended(opened, status, _sane(tokens) if tokens is not None else None)
        horizon = stamp(self._clock.now() - REMEMBERED)

        def settle(conn: Connection) -> None:
            store.end(conn, opened, ended)
            store.forget(conn, before=horizon, upto=call - MOST_CALLS)

        try:
            await self._database.write(settle)
        except sqlite3.Error:
            # It stays open, with what it holds, until the next start settles it as lost.
            logger.exception("the end of a model call was not put on record", extra={"call": call})

    def today(self) -> Day:
        return day_of(self._clock.now(), self._zone)

    async def standing(self, agents: Iterable[AgentName]) -> list[Standing]:
        """The budgets of today: the house's own and those of these agents."""
        asked = [(AgentName(""), limit) for limit in self._house]
        for agent in agents:
            budget = await self._budget_of(agent)
            daily = [limit for limit in limits(budget) if limit.scope == "day"] if budget else []
            asked += [(agent, limit) for limit in daily]
        whose = [self._whose(agent, SessionId(""), 0) for agent, _ in asked]
        uses = await self._database.read(
            lambda conn: [
                store.use(conn, limit, who) for (_, limit), who in zip(asked, whose, strict=True)
            ]
        )
        return [
            Standing(agent=agent, limit=limit, use=use)
            for (agent, limit), use in zip(asked, uses, strict=True)
        ]

    async def _limits(self, agent: AgentName) -> list[Limit]:
        budget = await self._budget_of(agent)
        return [*self._house, *(limits(budget) if budget else ())]

    async def _reserved(self, ask: Ask, all_: list[Limit]) -> Opened:
        """The call on record, with its reservation; raises `OverBudget` or `PriceUnknown`."""
        wanted = claim(ask, self._price(ask.provider, ask.model, ask.agent))
        bound = binding(all_, wanted)
        if bound is None:
            raise PriceUnknown(unknown(ask, all_, self._prices.problem))
        call = self._opened(ask, wanted)
        whose = self._whose(call.agent, call.session, call.turn)

        def reserve(conn: Connection) -> None:
            for limit in bound:
                use = store.use(conn, limit, whose)
                if not fits(limit, use, wanted):
                    raise OverBudget(over(limit, use, wanted, call.agent))
            store.begin(conn, call)

        try:
            await self._database.write(reserve)
        except asyncio.CancelledError:
            # It may be on record all the same, and would hold money that nobody will spend.
            self._database.post(lambda conn: store.drop(conn, call.id))
            raise
        except sqlite3.Error as exc:
            raise OverBudget(
                f"The model was not asked: what it may cost could not be put on record ({exc})."
                " Free some disk space and send this again."
            ) from exc
        return call

    def _ended(self, call: Opened, status: int, tokens: Tokens | None) -> Ended:
        """How the call ended, and what that costs: for want of the vendor's count, what it reserved."""
        ended = Ended(
            at=stamp(self._clock.now()),
            status=status,
            tokens=tokens,
            cost=call.reserved,
            price_date=None,
        )
        if ended.failed:
            return replace(ended, cost=0)
        if tokens is None:
            return ended
        price = self._price(call.provider, call.model, call.agent)
        if price is None:
            return replace(ended, cost=None)
        return replace(ended, cost=cost(tokens, price), price_date=price.date)

    def _price(self, provider: str, model: str, agent: AgentName) -> Price | None:
        return self._prices.of(provider, model, local=self._local(provider, agent))

    def _whose(self, agent: AgentName, session: SessionId, turn: int) -> Whose:
        since = stamp(self._clock.now() - LONGEST_TURN)
        return Whose(day=self.today(), agent=agent, session=session, turn=turn, since=since)

    def _opened(self, ask: Ask, wanted: Claim | None) -> Opened:
        self._last += 1
        now = self._clock.now()
        return Opened(
            id=CallId(self._last),
            session=ask.session,
            agent=ask.agent,
            turn=min(max(ask.turn, 0), MOST),
            provider=ask.provider,
            model=ask.model[:LONGEST_MODEL],
            day=day_of(now, self._zone),
            began_at=stamp(now),
            reserved=wanted.cost if wanted else None,
            reserved_tokens=wanted.tokens if wanted else None,
        )


def _settle_lost(conn: Connection, now: Stamp) -> int:
    """Calls whose end an earlier server did not live to see cost what they reserved. The last id given."""
    for call in store.open_calls(conn):
        lost = Ended(at=now, status=None, tokens=None, cost=call.reserved, price_date=None)
        store.end(conn, call, lost)
    return store.last_id(conn)


def _sane(tokens: Tokens) -> Tokens:
    """Counts that can be added up, whatever an upstream says."""
    return Tokens(
        input=min(max(tokens.input, 0), MOST),
        output=min(max(tokens.output, 0), MOST),
        cache_read=min(max(tokens.cache_read, 0), MOST),
        cache_write=min(max(tokens.cache_write, 0), MOST),
    )


def _complain(writing: "Future[None]") -> None:
    if exc := writing.exception():
        logger.error("the beginning of a model call was not put on record", exc_info=exc)
