"""`salver agents`: list, show, new, edit, allow, disallow, remove."""

import sys
from collections.abc import Mapping
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
        show.table(
            found,
            ("name", "title", "runs_with", "problem", "waits"),
            empty="There is no agent.",
        )
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
    _say_what_waits(found)


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
        _say_what_waits(found)


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
        _say_what_waits(found)


@agents.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Agree without being asked, as where no terminal is.")
@json_option
def allow(name: str, yes: bool, as_json: bool) -> None:
    """Agree to what AGENT.md asks for beyond the sandbox."""
    with server() as house:
        asked = house.ask("GET", f"/agents/{name}/reach")
        if not asked["what"]:
            fail(f"Agent '{name}' asks for nothing beyond its sandbox.", EXIT_USAGE)
        if not as_json:
            click.echo(f"Agent '{name}' asks for this beyond its sandbox:")
            for line in asked["told"]:
                click.echo(f"  {show.plain(line)}")
        if not yes and not _agrees():
            fail("Nothing was allowed.", EXIT_USAGE)
        found = house.ask("PUT", f"/agents/{name}/consent", {"what": asked["what"]})
    if as_json:
        show.as_json(found)
    else:
        click.echo(
            f"It is allowed until AGENT.md asks for something else, or `salver agents disallow {name}`."
        )


def on_terminal() -> bool:
    return sys.stdin.isatty()


def _agrees() -> bool:
    if not on_terminal():
        fail("Nobody is there to be asked. Say --yes if you agree.", EXIT_USAGE)
    return click.confirm("Do you agree?", default=False)


@agents.command()
@click.argument("name")
@json_option
def disallow(name: str, as_json: bool) -> None:
    """Take back what was allowed; counts at once."""
    with server() as house:
        found = house.ask("DELETE", f"/agents/{name}/consent")
    if as_json:
        show.as_json(found)
    else:
        click.echo(f"Agent '{name}' reaches nothing beyond its sandbox.")


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


def _say_what_waits(found: Mapping[str, str]) -> None:
    if found["waits"]:
        click.echo(f"salver: {found['waits']}", err=True)


def _read(file: IO[str]) -> str:
    try:
        return file.read()
    except UnicodeDecodeError:
        fail(f"{file.name} is no text in UTF-8. Save it as one.", EXIT_USAGE)


def _edited(text: str) -> str | None:
    changed = click.edit(text, extension=".md")
    return None if changed is None or changed == text else changed
