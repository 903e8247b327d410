"""`salver sessions`: list, show, context, stop, close."""

from typing import Any

import click

from salver_server.cli import files, show
from salver_server.cli.connection import json_option, server

WIDEST = 60
"""Characters of a message shown in a list."""
BAR, WIDEST_BAR = "█", 30


@click.group()
def sessions() -> None:
    """See conversations, end their turns, close them."""


@sessions.command("list")
@click.option("--closed", is_flag=True, help="Closed ones too.")
@click.option(
    "--most",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="How many are listed.",
)
@json_option
def list_(closed: bool, most: int, as_json: bool) -> None:
    """List the sessions, the latest active first."""
    with server() as house:
        found = house.ask("GET", "/sessions", closed=closed, most=most)
    if as_json:
        show.as_json(found)
        return
    columns = ("id", "agent", "sandbox", "running", "waiting", "active_at", "trouble")
    show.table(found, columns, empty="There is no session yet.")
    if len(found) == most:
        click.echo(f"There may be more; these {most} were active last.", err=True)


@sessions.command("show")
@click.argument("id_", metavar="ID")
@json_option
def show_(id_: str, as_json: bool) -> None:
    """Show a session's messages with their states, and what was delivered."""
    with server() as house:
        found = house.ask("GET", f"/sessions/{id_}")
    if as_json:
        show.as_json(found)
        return
    click.echo(f"{found['id']}  agent {found['agent']}  sandbox {found['sandbox']}")
    if (spent := found["spent"])["calls"]:
        click.echo(f"model calls {spent['calls']}, cost {show.cost(spent)}")
    if found["trouble"]:
        click.echo(f"It waits: {found['trouble']}")
    for message in found["messages"]:
        reason = f"  ({show.plain(message['reason'])})" if message["reason"] else ""
        click.echo(
            f"{message['accepted_at']}  {message['state']:<18} {show.brief(message['text'], WIDEST)}{reason}"
        )
        _list_files(message)
    for delivery in found["deliveries"]:
        click.echo(
            f"{delivery['created_at']}  {delivery['kind'] + ' ' + delivery['state']:<18} {show.brief(delivery['text'], WIDEST)}"
        )
        _list_files(delivery)


@sessions.command()
@click.argument("id_", metavar="ID")
@click.option("--turn", type=click.IntRange(min=1), help="This turn instead of the latest.")
@json_option
def context(id_: str, turn: int | None, as_json: bool) -> None:
    """Show what a turn went by: instructions, memory, history, messages, and how much room they took."""
    with server() as house:
        about = {} if turn is None else {"turn": turn}
        found = house.ask("GET", f"/sessions/{id_}/contexts", most=1, **about)
    if as_json:
        show.as_json(found)
    elif found:
        _show_context(found[0])
    else:
        click.echo("Nothing is on record: only turns with a model have a context.")


def _show_context(found: dict[str, Any]) -> None:
    window, used = found["window"], found["used"]
    share = f" of {window:,} ({used * 100 // window} %)" if window else ""
    click.echo(f"Turn {found['turn']}, {show.plain(found['model'])}: {used:,} tokens{share}")
    if found["compacted"]:
        click.echo("In this turn a summary took the place of the conversation's beginning.")
    largest = max((part["tokens"] for part in found["parts"]), default=0)
    rows = [
        {
            "part": part["part"],
            "count": part["count"],
            "characters": f"{part['characters']:,}",
            "tokens": f"{part['tokens']:,}",
            "": BAR * -(-part["tokens"] * WIDEST_BAR // max(largest, 1)),
        }
        for part in found["parts"]
    ]
    show.table(rows, ("part", "count", "characters", "tokens", ""), empty="It had no part.")
    if found["messages"]:
        click.echo(f"Messages taken up: {', '.join(map(str, found['messages']))}")


@sessions.command()
@click.argument("id_", metavar="ID")
@json_option
def stop(id_: str, as_json: bool) -> None:
    """Stop the running turn and what waits before this order."""
    with server() as house:
        house.ask("POST", f"/sessions/{id_}/stop")
    show.as_json({"session": id_, "stopping": True}) if as_json else click.echo(
        "It is being stopped."
    )


@sessions.command()
@click.argument("id_", metavar="ID")
@json_option
def close(id_: str, as_json: bool) -> None:
    """Close a session: what it still owes is cancelled, its files stay."""
    with server() as house:
        found = house.ask("POST", f"/sessions/{id_}/close")
    show.as_json(found) if as_json else click.echo(f"Session {id_} is closed.")


def _list_files(owner: files.Owner) -> None:
    for line in files.lines(owner):
        click.echo(f"    {line}")
