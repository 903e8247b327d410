"""`salver agents`: list, show, new, edit, remove."""

from pathlib import Path
from typing import IO, Any

import click

from salver_server.cli import show
from salver_server.cli.connection import EXIT_USAGE, fail, json_option, server


@click.group()
def agents() -> None:
    """See and change the agents; each is one AGENT.md."""


@agents.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the agents."""
    with server() as house:
        found = house.ask("GET", "/agents")
    if as_json:
        show.as_json(found)
    else:
        show.table(found, ("name", "title", "runs_with", "problem"), empty="There is no agent.")
        for agent in found:
            _warn(agent)


@agents.command("show")
@click.argument("name")
@json_option
def show_(name: str, as_json: bool) -> None:
    """Print an agent's AGENT.md as it counts."""
    with server() as house:
        found = house.ask("GET", f"/agents/{name}")
    if as_json:
        show.as_json(found)
        return
    click.echo(found["text"], nl=not found["text"].endswith("\n"))
    if found["problem"]:
        click.echo(f"salver: the file as it lies there is not used. {found['problem']}", err=True)
    _warn(found)


@agents.command()
@click.argument("name")
@click.option(
    "--file", type=click.File(encoding="utf-8"), help="Take AGENT.md from this file; - is stdin."
)
@json_option
def new(name: str, file: IO[str] | None, as_json: bool) -> None:
    """Make an agent."""
    text = _read(file) if file else None
    with server() as house:
        found = house.ask("POST", "/agents", {"name": name, "text": text})
    if as_json:
        show.as_json(found)
    else:
        click.echo(f"Agent '{name}' is there. `salver agents edit {name}` changes it.")


@agents.command()
@click.argument("name")
@click.option(
    "--file", type=click.File(encoding="utf-8"), help="Take AGENT.md from this file; - is stdin."
)
@json_option
def edit(name: str, file: IO[str] | None, as_json: bool) -> None:
    """Change an agent's AGENT.md, in $EDITOR unless --file is given."""
    with server() as house:
        text: str | None = (
            _read(file) if file else _edited(house.ask("GET", f"/agents/{name}")["text"])
        )
        if text is None:
            click.echo("Nothing was changed.", err=True)
            return
        found = house.ask("PUT", f"/agents/{name}", {"text": text})
    if as_json:
        show.as_json(found)
    else:
        click.echo(f"Agent '{name}' is changed; it counts from the next turn on.")


@agents.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Take an agent out of service; its folder is moved aside, not deleted."""
    with server() as house:
        found = house.ask("DELETE", f"/agents/{name}")
    if as_json:
        show.as_json(found)
    else:
        click.echo(f"Agent '{name}' is removed; its folder is {Path(found['folder'])}.")


def _warn(agent: dict[str, Any]) -> None:
    for warning in agent["warnings"]:
        click.echo(f"salver: {agent['name']}: {show.plain(warning)}", err=True)


def _read(file: IO[str]) -> str:
    try:
        return file.read()
    except UnicodeDecodeError:
        fail(f"{file.name} is no text in UTF-8. Save it as one.", EXIT_USAGE)


def _edited(text: str) -> str | None:
    changed = click.edit(text, extension=".md")
    return None if changed is None or changed == text else changed
