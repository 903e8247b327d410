"""What a person can see of usage: sums of calls, by whatever they are asked for."""

from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any, Literal

from salver_server.clock import Stamp
from salver_server.ids import AgentName, SessionId
from salver_server.usage.days import Day
from salver_server.usage.store import FAILED

By = Literal["day", "agent", "model", "session", "turn", "call"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which calls are meant: those of these days, and of this session or agent where one is named."""

    since: Day
    until: Day
    session: SessionId | None = None
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    calls: int = 0
    running: int = 0
    """Of the calls; told apart by turn and by call only, where each is looked at."""
    failed: int = 0
    untold: int = 0
    """Cut off, or lost with the server: they count as what they had reserved."""
    unpriced: int = 0
    """Calls whose cost is not known: the true sum is larger."""
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost: int = 0
    """Millionths of a dollar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Sums, and of what; a name that was not asked for is None."""

    sums: Sums
    day: Day | None = None
    agent: AgentName | None = None
    provider: str | None = None
    model: str | None = None
    session: SessionId | None = None
    turn: int | None = None
    call: int | None = None
    began_at: Stamp | None = None
    status: int | None = None


NAMES: dict[By, tuple[str, ...]] = {
    "day": ("day",),
    "agent": ("agent",),
    "model": ("provider", "model"),
    "session": ("session", "agent"),
    "turn": ("session", "agent", "turn"),
    "call": ("session", "agent", "turn", "provider", "model", "call", "status"),
}
OF_DAYS = (
    "sum(calls), 0, sum(failed), sum(untold), sum(unpriced), sum(input), sum(output), sum(cache_read),"
    " sum(cache_write), sum(cost) FROM usage_days"
)
OF_CALLS = (
    f"count(*), sum(ended_at IS NULL), sum(ifnull({FAILED}, 0)),"
    f" sum(ended_at IS NOT NULL AND input IS NULL AND NOT ifnull({FAILED}, 0)),"
    " sum(ended_at IS NOT NULL AND cost IS NULL), sum(input), sum(output), sum(cache_read), sum(cache_write),"
    " sum(cost) FROM (SELECT *, id AS call FROM model_calls)"
)


def lines(conn: Connection, by: By, asked: Asked, *, most: int) -> list[Line]:
    """The latest of them, oldest first; days are never too many to be shown."""
    names = NAMES[by]
    where, values = _where(asked)
    listed = ", ".join(names)
    if by in ("turn", "call"):
        rows = conn.execute(
            f"SELECT {listed}, min(began_at), {OF_CALLS} WHERE {where} GROUP BY {listed}"
            " ORDER BY min(id) DESC LIMIT ?",
            (*values, most),
        ).fetchall()
        names = (*names, "began_at")
    else:
        rows = conn.execute(
            f"SELECT {listed}, {OF_DAYS} WHERE {where} GROUP BY {listed} ORDER BY max(day) DESC LIMIT ?",
            (*values, most),
        ).fetchall()
    return [_line(names, row) for row in reversed(rows)]


def total(conn: Connection, by: By, asked: Asked) -> Sums:
    """All of them together."""
    where, values = _where(asked)
    table = OF_CALLS if by in ("turn", "call") else OF_DAYS
    return _sums(conn.execute(f"SELECT {table} WHERE {where}", values).fetchone())


def of_session(conn: Connection, session: SessionId) -> Sums:
    row = conn.execute(f"SELECT {OF_DAYS} WHERE session = ?", (session,)).fetchone()
    return _sums(row)


def of_turns(conn: Connection, session: SessionId, *, most: int) -> dict[int, Sums]:
    """By turn: what the latest turns of a session have taken so far."""
    rows = conn.execute(
        f"SELECT turn, {OF_CALLS} WHERE session = ? AND turn > 0 GROUP BY turn ORDER BY turn DESC LIMIT ?",
        (session, most),
    )
    return {row[0]: _sums(row[1:]) for row in rows}


def called_since(conn: Connection, day: Day) -> list[tuple[str, str]]:
    """Provider and model of what was called from a day on."""
    return conn.execute(
        "SELECT DISTINCT provider, model FROM usage_days WHERE day >= ? ORDER BY provider, model",
        (day,),
    ).fetchall()


def _where(asked: Asked) -> tuple[str, list[str]]:
    where, values = "day >= ? AND day <= ?", [str(asked.since), str(asked.until)]
    if asked.session is not None:
        where, values = f"{where} AND session = ?", [*values, asked.session]
    if asked.agent is not None:
        where, values = f"{where} AND agent = ?", [*values, asked.agent]
    return where, values


def _line(names: tuple[str, ...], row: tuple[Any, ...]) -> Line:
    named = dict(zip(names, row, strict=False))
    return Line(sums=_sums(row[len(names) :]), **named)


def _sums(row: tuple[Any, ...]) -> Sums:
    calls, running, failed, untold, unpriced, input_, output, read, write, cost = (
        number or 0 for number in row
    )
    return Sums(
        calls=calls,
        running=running,
        failed=failed,
        untold=untold,
        unpriced=unpriced,
        input=input_,
        output=output,
        cache_read=read,
        cache_write=write,
        cost=cost,
    )
