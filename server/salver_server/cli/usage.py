"""`salver usage`: what calls to models took and cost, what is left of budgets, what models cost."""

from datetime import datetime
from typing import Any

import click

from salver_server.cli import show
from salver_server.cli.connection import EXIT_USAGE, fail, json_option, server
from salver_server.kit.money import dollars

LATELY = 30
"""Days that are summed up unless told."""
SORTS = {
    "day": ("day",),
    "agent": ("agent",),
    "model": ("provider", "model"),
    "session": ("session", "agent"),
    "turn": ("began_at", "session", "agent", "turn"),
    "call": ("began_at", "session", "turn", "provider", "model", "ended"),
}
NUMBERS = ("calls", "failed", "input", "cached", "output", "cost")


@click.group(invoke_without_command=True)
@click.option(
    "--day", type=click.DateTime(["%Y-%m-%d"]), metavar="YYYY-MM-DD", help="One day alone."
)
@click.option(
    "--days", type=click.IntRange(1, 100_000), help=f"So many days up to today; {LATELY} unless told."
)  # fmt: skip
@click.option("--session", help="One session alone, from its beginning.")
@click.option("--agent", help="One agent alone.")
@click.option(
    "--by", type=click.Choice(list(SORTS)), default="day", show_default=True, help="What is summed up together."
)  # fmt: skip
@json_option
@click.pass_context
def usage(
    context: click.Context,
    day: datetime | None,
    days: int | None,
    session: str | None,
    agent: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Show what calls to models took and cost, and what is left of today's budgets."""
    if context.invoked_subcommand is not None:
        return
    if day is not None and days is not None:
        fail("Choose one of --day and --days.", EXIT_USAGE)
    if day is None and days is None and session is None:
        days = LATELY
    asked = {"day": day and day.date(), "days": days, "session": session, "agent": agent}
    with server() as house:
        found = house.ask(
            "GET", "/usage", by=by, **{name: it for name, it in asked.items() if it is not None}
        )
    if as_json:
        show.as_json(found)
        return
    lines = [_line(line) for line in found["lines"]]
    if lines:
        no_names = dict.fromkeys((*SORTS[by], "ended"), "")
        lines.append(_line(found["total"]) | no_names | {SORTS[by][0]: "total"})
    empty = "No model was called there." if session or agent else "No model was called then."
    if days is not None:
        empty = f"No model was called in these {days} days."
    show.table(lines, (*SORTS[by], *NUMBERS), empty=empty)
    for remark in _remarks(found):
        click.echo(remark)


@usage.command()
@click.argument("model", default="")
@json_option
def prices(model: str, as_json: bool) -> None:
    """Show what models cost whose names hold MODEL, in dollars for a million tokens.

    Unasked, those of prices.toml and those that were called lately.
    """
    with server() as house:
        found = house.ask("GET", "/usage/prices", model=model)
    if as_json:
        show.as_json(found)
        return
    columns = (
        "provider",
        "model",
        "input",
        "cache_read",
        "cache_write",
        "output",
        "window",
        "date",
    )
    show.table(
        [_price(price) for price in found["prices"]],
        columns,
        empty=f"No model is known whose name holds '{model}'. prices.toml in the data folder can tell its price."
        if model
        else "No model was called lately. `salver usage prices MODEL` shows what one costs.",
    )
    if found["problem"]:
        click.echo(f"salver: {found['problem']}", err=True)


def _line(line: dict[str, Any]) -> dict[str, Any]:
    """As people read it; a total has no names."""
    names = dict.fromkeys(name for columns in SORTS.values() for name in columns)
    return {
        **names,
        **line,
        # Nobody's: what `salver provider test` asks.
        "agent": line.get("agent") or "(tests)",
        "cached": line["cache_read"],
        "cost": show.cost(line),
        "ended": "under way" if line["running"] else line.get("status") or "lost",
    }


def _remarks(found: dict[str, Any]) -> list[str]:
    total = found["total"]
    remarks: list[str] = []
    if total["unpriced"]:
        remarks.append(
            f"Nobody knows what {total['unpriced']} of these calls cost: the model has no price, or the call was"
            " cut off. `salver usage prices` shows which models have one."
        )
    if total["untold"]:
        remarks.append(
            f"Calls that were cut off: {total['untold']}. Where a budget bound them, they count as the most that"
            " they may have cost."
        )
    remarks.extend(_budget(budget) for budget in found["budgets"])
    if found["problem"]:
        remarks.append(found["problem"])
    return remarks


def _budget(budget: dict[str, Any]) -> str:
    whose = f"Agent '{budget['agent']}'" if budget["agent"] else "All agents"
    used, most, left = (
        dollars(budget[name]) if budget["unit"] == "usd" else f"{budget[name]:,} tokens"
        for name in ("used", "most", "left")
    )
    return f"{whose} used {used} of {most} today; {left} left."


def _price(price: dict[str, Any]) -> dict[str, Any]:
    return {
        name: "?" if value is None else "" if (name, value) == ("window", 0) else value
        for name, value in price.items()
    }
