"""Usage: what calls to models took and cost, what is left of the budgets, and what models cost."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from salver_server.api.rooms import Use
from salver_server.api.shapes import Spent
from salver_server.ids import AgentName, SessionId
from salver_server.usage import Listed, Standing, views
from salver_server.usage.budgets import Unit
from salver_server.usage.days import Day, days_ago
from salver_server.usage.views import By

router = APIRouter(prefix="/usage", tags=["usage"])

DAY = r"^\d{4}-\d{2}-\d{2}$"
LATELY = 30
"""Days whose models' prices are shown unasked."""
FIRST_DAY, LAST_DAY = Day("0000-00-00"), Day("9999-99-99")


class Line(Spent):
    """What one of those that was asked for took; names that were not asked for are null."""

    day: str | None
    agent: str | None
    provider: str | None
    model: str | None
    session: str | None
    turn: int | None
    call: int | None
    began_at: str | None
    status: int | None
    """Of one call; null while it is under way, and where it was lost with the server."""


class BudgetToday(BaseModel):
    """A budget of the day, in millionths of a dollar or in tokens."""

    agent: str
    """Empty for all agents together."""
    unit: Unit
    most: int
    used: int
    held: int
    """Reserved for calls that are under way."""
    left: int


class Usage(BaseModel):
    by: By
    lines: list[Line]
    total: Spent
    today: str
    budgets: list[BudgetToday]
    problem: str
    """Why prices.toml is not used as it lies there; empty if it is."""


class ModelPrice(BaseModel):
    """Dollars for a million tokens, as decimal text; null where nobody knows."""

    provider: str
    model: str
    input: str | None
    output: str | None
    cache_read: str | None
    cache_write: str | None
    window: int
    """Tokens of context; 0 is unknown."""
    date: str | None
    """The prices were so then."""


class PriceList(BaseModel):
    prices: list[ModelPrice]
    problem: str
    """Why prices.toml is not used as it lies there; empty if it is."""


@router.get("")
async def usage(
    rooms: Use,
    by: By = "day",
    day: Annotated[str | None, Query(pattern=DAY)] = None,
    days: Annotated[int | None, Query(ge=1, le=100_000)] = None,
    session: str | None = None,
    agent: str | None = None,
    most: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Usage:
    """Sums by day, agent, model, session, turn or call: of one day, the last days, or of all time."""
    today = rooms.ledger.today()
    asked = views.Asked(
        since=Day(day) if day else days_ago(today, days - 1) if days else FIRST_DAY,
        until=Day(day) if day else LAST_DAY,
        session=SessionId(session) if session is not None else None,
        agent=AgentName(agent) if agent is not None else None,
    )
    lines, total = await rooms.database.read(
        lambda conn: (
            views.lines(conn, by, asked, most=most),
            views.total(conn, by, asked),
        )
    )
    agents = [standing.name for standing in await rooms.agents.refresh()]
    return Usage(
        by=by,
        lines=[_line(line) for line in lines],
        total=Spent.of(total),
        today=today,
        budgets=[_budget(standing) for standing in await rooms.ledger.standing(agents)],
        problem=rooms.prices.problem,
    )


@router.get("/prices")
async def prices(
    rooms: Use, model: str = "", most: Annotated[int, Query(ge=1, le=10_000)] = 100
) -> PriceList:
    """What models cost whose names hold `model`; unasked, those of prices.toml and those called lately."""
    since = days_ago(rooms.ledger.today(), LATELY)
    called = await rooms.database.read(lambda conn: views.called_since(conn, since))
    found = rooms.prices.like(model, most=most) if model else rooms.prices.these(called)
    return PriceList(prices=[_price(listed) for listed in found], problem=rooms.prices.problem)


def _line(line: views.Line) -> Line:
    return Line(
        **Spent.of(line.sums).model_dump(),
        day=line.day,
        agent=line.agent,
        provider=line.provider,
        model=line.model,
        session=line.session,
        turn=line.turn,
        call=line.call,
        began_at=line.began_at,
        status=line.status,
    )


def _budget(standing: Standing) -> BudgetToday:
    limit, use = standing.limit, standing.use
    return BudgetToday(
        agent=standing.agent,
        unit=limit.unit,
        most=limit.most,
        used=use.used,
        held=use.held,
        left=max(0, limit.most - use.used - use.held),
    )


def _price(listed: Listed) -> ModelPrice:
    price = listed.price
    rates = price.rates if price else None
    return ModelPrice(
        provider=listed.provider,
        model=listed.model,
        input=str(rates.input) if rates else None,
        output=str(rates.output) if rates else None,
        cache_read=str(rates.cache_read) if rates else None,
        cache_write=str(rates.cache_write) if rates else None,
        window=price.window if price else 0,
        date=price.date if price else None,
    )
