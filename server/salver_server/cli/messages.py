"""`salver messages`: list, edit, move, release, cancel, retry, resend."""

from typing import Any

import click

from salver_server.cli import show
from salver_server.cli.connection import json_option, server

WIDEST = 60
"""Characters of a message shown in a list."""


@click.group()
def messages() -> None:
    """See what waits in a conversation, and change it as long as the agent does not have it."""


@messages.command("list")
@click.option("--agent", metavar="NAME", help="The agent; the first one unless given.")
@click.option("--session", metavar="ID", help="The session; the agent's main one unless given.")
@click.option(
    "--all", "everything", is_flag=True, help="The latest that ended, too, with their replies."
)
@json_option
def list_(agent: str | None, session: str | None, everything: bool, as_json: bool) -> None:
    """List what is not answered yet: the queue first, in its order."""
    place = {"agent": agent, "session": session, "ended": everything or None}
    with server() as house:
        found = house.ask(
            "GET", "/messages", **{name: value for name, value in place.items() if value}
        )
    if as_json:
        show.as_json(found)
        return
    rows = [{**row, "text": show.brief(row["text"], WIDEST), "place": _place(row)} for row in found]
    columns = ("place", "state", "id", *(("delivery",) if everything else ()), "text")
    show.table(rows, columns, empty="Nothing waits.")


def _place(row: dict[str, Any]) -> str:
    if row.get("position") is None:
        return ""
    return f"{row['position']}{'' if row['release'] == 'free' else ' (held)'}"


@messages.command()
@click.argument("id_", metavar="ID")
@click.argument("text")
@json_option
def edit(id_: str, text: str, as_json: bool) -> None:
    """Let a message of the queue say TEXT."""
    _do("PATCH", id_, "", {"text": text}, as_json, "It says that now.")


@messages.command()
@click.argument("id_", metavar="ID")
@click.argument("position", type=click.IntRange(min=1))
@json_option
def move(id_: str, position: int, as_json: bool) -> None:
    """Put a message of the queue in another place, counted from 1."""
    _do("POST", id_, "/move", {"position": position}, as_json, "It is number {position} now.")


@messages.command()
@click.argument("id_", metavar="ID")
@json_option
def release(id_: str, as_json: bool) -> None:
    """Hand a message of the queue over now, whatever runs."""
    _do("POST", id_, "/release", None, as_json, "The agent gets it now.")


@messages.command()
@click.argument("id_", metavar="ID")
@json_option
def cancel(id_: str, as_json: bool) -> None:
    """Ask for a message not to be answered; one that the model has seen is answered all the same."""
    _do("POST", id_, "/cancel", None, as_json, "It is {state}.")


@messages.command()
@click.argument("id_", metavar="ID")
@json_option
def retry(id_: str, as_json: bool) -> None:
    """Send the text of a message that ended unanswered once more."""
    _do("POST", id_, "/retry", None, as_json, "It is sent once more, as {id}.")


@messages.command()
@click.argument("delivery")
@json_option
def resend(delivery: str, as_json: bool) -> None:
    """Send a reply once more that failed or is perhaps delivered."""
    with server() as house:
        house.ask("POST", f"/deliveries/{delivery}/resend")
    show.as_json({"delivery": delivery}) if as_json else click.echo("It is sent once more.")


def _do(method: str, id_: str, what: str, body: object, as_json: bool, says: str) -> None:
    with server() as house:
        found = house.ask(method, f"/messages/{id_}{what}", body)
    show.as_json(found) if as_json else click.echo(says.format(**found))
