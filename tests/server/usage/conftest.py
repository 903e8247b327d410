"""A ledger on a real database, with budgets and prices that a test sets."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from salver_server.agents import Budget
from salver_server.calls import Ask, Tokens
from salver_server.clock import SystemClock
from salver_server.ids import AgentName, CallId, SessionId
from salver_server.store import Database
from salver_server.usage import Ledger, Prices
from salver_server.usage.budgets import Limit, Use
from salver_server.usage.store import Whose, use
from tests.fakes.clock import FakeClock

ADA = AgentName("ada")
BOB = AgentName("bob")
SESSION = SessionId("ses-1")
PRICED = """
[[price]]
provider = "openai-compatible"
model = "round"
input = 10
output = 100
cache_read = 1
cache_write = 20

[[price]]
provider = "openai"
model = "scripted"
input = 10
output = 100
"""
"""Models that are easy to reckon with: a token costs 10 millionths of a dollar, one of output 100."""
DOLLAR = 1_000_000


def ask(
    *,
    agent: AgentName = ADA,
    session: SessionId = SESSION,
    turn: int = 1,
    provider: str = "openai-compatible",
    model: str = "round",
    size: int = 0,
    most_output: int | None = 1000,
) -> Ask:
    """A call that may cost $0.12: 1,000 tokens at $20 and 1,000 at $100 a million."""
    return Ask(
        session=session,
        agent=agent,
        turn=turn,
        provider=provider,
        model=model,
        size=size,
        most_output=most_output,
    )


def ledger(home: Path, database: Database) -> Ledger:
    """The ledger of a data folder, by the system's clock, where every agent has a dollar a day."""

    async def budget_of(_: AgentName) -> Budget:
        return Budget(usd_per_day=1)

    clock = SystemClock()
    return Ledger(
        database=database,
        clock=clock,
        prices=Prices(home / "prices.toml", clock=clock),
        house_usd=None,
        budget_of=budget_of,
        local=lambda _provider, _agent: False,
    )


@dataclass(slots=True, kw_only=True)
class Till:
    """Where calls are paid."""

    database: Database
    clock: FakeClock
    prices: Prices
    house: float | None = None
    budgets: dict[AgentName, Budget] = field(default_factory=dict[AgentName, Budget])
    local: bool = False
    ledger: Ledger = field(init=False)

    async def open(self) -> Ledger:
        """The ledger as a server finds it that has just started."""
        self.ledger = Ledger(
            database=self.database,
            clock=self.clock,
            prices=self.prices,
            house_usd=self.house,
            budget_of=self._budget_of,
            local=lambda _provider, _agent: self.local,
        )
        await self.ledger.open()
        return self.ledger

    async def _budget_of(self, agent: AgentName) -> Budget | None:
        return self.budgets.get(agent)

    async def call(self, asked: Ask, tokens: Tokens | None, *, status: int = 200) -> CallId:
        """A whole call."""
        call = await self.ledger.begin(asked)
        await self.ledger.end(call, status=status, tokens=tokens)
        return call

    async def used(self, limit: Limit, *, turn: int = 1, agent: AgentName = ADA) -> Use:
        whose = Whose(
            day=self.ledger.today(),
            agent=agent,
            session=SESSION,
            turn=turn,
            since=self.clock.stamp(-86400),
        )
        return await self.database.read(lambda conn: use(conn, limit, whose))

    async def written(self) -> None:
        """Return once all that was handed in before is done: without a budget nobody waits for it."""
        await self.database.write(lambda _: None)

    async def rows(self, columns: str, table: str = "model_calls") -> list[tuple[object, ...]]:
        """What lies there once all that was handed in before is done."""
        await self.written()
        return await self.database.read(
            lambda conn: conn.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()
        )


@pytest.fixture
def own(quick_path: Path) -> Path:
    """A prices.toml."""
    path = quick_path / "prices.toml"
    path.write_text(PRICED, encoding="utf-8")
    return path


@pytest.fixture
async def till(database: Database, clock: FakeClock, own: Path) -> Till:
    """Without any budget."""
    till = Till(database=database, clock=clock, prices=Prices(own, clock=clock))
    await till.open()
    return till
