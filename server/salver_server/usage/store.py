"""SQL of usage: calls one by one, and sums of those that have ended."""

from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from salver_server.calls import Tokens
from salver_server.clock import Stamp
from salver_server.ids import AgentName, CallId, SessionId
from salver_server.usage.budgets import Limit, Use
from salver_server.usage.days import Day


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A call that has begun."""

    id: CallId
    session: SessionId
    agent: AgentName
    turn: int
    provider: str
    model: str
    day: Day
    began_at: Stamp
    reserved: int | None
    reserved_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call ended."""

    at: Stamp
    status: int | None
    """None for one that was lost with the server."""
    tokens: Tokens | None
    """None where the vendor told none."""
    cost: int | None
    price_date: str | None

    @property
    def failed(self) -> bool:
        """The vendor did not answer, and wants nothing for it."""
        refused = self.status is not None and self.status >= 400
        return refused and self.status not in UNANSWERED and self.tokens is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Whose use is asked for."""

    day: Day
    agent: AgentName
    session: SessionId
    turn: int
    since: Stamp
    """Calls of the turn are no older."""


MOST_MODELS = 100
"""Of one session on one day that are told apart."""
OTHERS = "(others)"
UNANSWERED = (499, 504)
"""Ends without an answer that the vendor may want money for: the client left, or nobody waited on."""
FAILED = f"(status >= 400 AND status NOT IN {UNANSWERED} AND input IS NULL)"
OPENED = "id, session, agent, turn, provider, model, day, began_at, reserved, reserved_tokens"


def last_id(conn: Connection) -> int:
    return conn.execute("SELECT ifnull(max(id), 0) FROM model_calls").fetchone()[0]


def begin(conn: Connection, call: Opened) -> None:
    conn.execute(
        f"INSERT INTO model_calls ({OPENED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        _values(call),
    )


def end(conn: Connection, call: Opened, ended: Ended) -> None:
    """End the call and add it to its day; a call whose beginning could not be written down is written now."""
    tokens = ended.tokens
    counts = (
        (tokens.input, tokens.output, tokens.cache_read, tokens.cache_write)
        if tokens
        else (None, None, None, None)
    )
    conn.execute(
        f"INSERT INTO model_calls ({OPENED}, ended_at, status, input, output, cache_read, cache_write, cost,"
        " price_date) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " ended_at = excluded.ended_at, status = excluded.status, input = excluded.input, output = excluded.output,"
        " cache_read = excluded.cache_read, cache_write = excluded.cache_write, cost = excluded.cost,"
        " price_date = excluded.price_date",
        (*_values(call), ended.at, ended.status, *counts, ended.cost, ended.price_date),
    )
    untold = tokens is None and not ended.failed
    conn.execute(
        "INSERT INTO usage_days (day, session, agent, provider, model, calls, failed, untold, unpriced, input, output,"
        " cache_read, cache_write, assumed, cost) VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (day, session, provider, model) DO UPDATE SET calls = calls + 1,"
        " failed = failed + excluded.failed, untold = untold + excluded.untold,"
        " unpriced = unpriced + excluded.unpriced, input = input + excluded.input,"
        " output = output + excluded.output, cache_read = cache_read + excluded.cache_read,"
        " cache_write = cache_write + excluded.cache_write, assumed = assumed + excluded.assumed,"
        " cost = cost + excluded.cost",
        (
            call.day,
            call.session,
            call.agent,
            call.provider,
            _sum_of(conn, call),
            ended.failed,
            untold,
            ended.cost is None,
            *(count or 0 for count in counts),
            (call.reserved_tokens or 0) if untold else 0,
            ended.cost or 0,
        ),
    )


def _sum_of(conn: Connection, call: Opened) -> str:
    """The name that the call is summed up under: a sandbox may make up any number of models."""
    models, is_one = conn.execute(
        "SELECT count(*), ifnull(max(provider = ? AND model = ?), 0) FROM usage_days WHERE day = ? AND session = ?",
        (call.provider, call.model, call.day, call.session),
    ).fetchone()
    return call.model if is_one or models < MOST_MODELS else OTHERS


def drop(conn: Connection, call: CallId) -> None:
    """The call was not made after all."""
    conn.execute("DELETE FROM model_calls WHERE id = ? AND ended_at IS NULL", (call,))


def forget(conn: Connection, *, before: Stamp, upto: int) -> None:
    """Calls that ended and are older, or have a lower number, are no longer told apart; their days stay."""
    for which, value in (("began_at < ?", before), ("id <= ?", upto)):
        conn.execute(f"DELETE FROM model_calls WHERE {which} AND ended_at IS NOT NULL", (value,))


def open_calls(conn: Connection) -> list[Opened]:
    rows = conn.execute(f"SELECT {OPENED} FROM model_calls WHERE ended_at IS NULL ORDER BY id")
    return [_opened(row) for row in rows.fetchall()]


def use(conn: Connection, limit: Limit, whose: Whose) -> Use:
    """What has been used of a budget, and is held by open calls."""
    spent, held = (
        ("cost", "reserved")
        if limit.unit == "usd"
        else ("input + output + assumed", "reserved_tokens")
    )
    where, values = _scope(limit, whose)
    open_ = f"SELECT ifnull(sum({held}), 0) FROM model_calls WHERE ended_at IS NULL AND {where}"
    if limit.scope == "turn":
        used = f"SELECT ifnull(sum(cost), 0) FROM model_calls WHERE began_at >= ? AND {where}"
        row = conn.execute(f"SELECT ({used}), ({open_})", (whose.since, *values, *values))
    else:
        used = f"SELECT ifnull(sum({spent}), 0) FROM usage_days WHERE {where}"
        row = conn.execute(f"SELECT ({used}), ({open_})", (*values, *values))
    so_far, under_way = row.fetchone()
    return Use(used=so_far, held=under_way)


def _scope(limit: Limit, whose: Whose) -> tuple[str, tuple[str | int, ...]]:
    match limit.scope:
        case "house":
            return "day = ?", (whose.day,)
        case "day":
            return "day = ? AND agent = ?", (whose.day, whose.agent)
        case "turn":
            return "session = ? AND turn = ?", (whose.session, whose.turn)
        case "session":
            return "session = ?", (whose.session,)


def _values(call: Opened) -> tuple[Any, ...]:
    return (
        call.id,
        call.session,
        call.agent,
        call.turn,
        call.provider,
        call.model,
        call.day,
        call.began_at,
        call.reserved,
        call.reserved_tokens,
    )


def _opened(row: tuple[Any, ...]) -> Opened:
    id_, session, agent, turn, provider, model, day, began_at, reserved, reserved_tokens = row
    return Opened(
        id=id_,
        session=session,
        agent=agent,
        turn=turn,
        provider=provider,
        model=model,
        day=day,
        began_at=began_at,
        reserved=reserved,
        reserved_tokens=reserved_tokens,
    )
