"""`salver sessions`: list, show, stop, close."""

import click

from salver_server.cli import show
from salver_server.cli.connection import json_option, server

WIDEST = 60
"""Characters of a message shown in a list."""


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
    if found["trouble"]:
        click.echo(f"It waits: {found['trouble']}")
    for message in found["messages"]:
        reason = f"  ({show.plain(message['reason'])})" if message["reason"] else ""
        click.echo(
            f"{message['accepted_at']}  {message['state']:<18} {_short(message['text'])}{reason}"
        )
    for delivery in found["deliveries"]:
        click.echo(
            f"{delivery['created_at']}  {delivery['kind'] + ' ' + delivery['state']:<18} {_short(delivery['text'])}"
        )


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


def _short(text: str) -> str:
    line = show.plain(" ".join(text.split()))
    return line if len(line) <= WIDEST else line[: WIDEST - 1] + "…"
