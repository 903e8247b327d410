"""`salver provider`: the accounts that the owner has with vendors of models."""

import sys
from typing import Any

import click

from salver_server.cli import show
from salver_server.cli.connection import (
    EXIT_FAILED,
    EXIT_USAGE,
    Refused,
    Server,
    fail,
    json_option,
    server,
)
from salver_server.cli.keychain import consents

CALL = 90.0
"""Seconds for a real call; a model that has to be loaded first takes its time."""

agent_option = click.option(
    "--agent", default="", metavar="NAME", help="The account of this agent alone; it goes first."
)


@click.group()
def provider() -> None:
    """Set up who runs the models: address, model and key of each vendor.

    Keys are sealed by a key that rests in your keychain, and never enter a sandbox.
    """


@provider.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the providers and what is set up with them."""
    with server() as house:
        found = house.ask("GET", "/providers")
    if as_json:
        show.as_json(found)
        return
    show.table(
        [row for one in found for row in _rows(one)],
        ("provider", "agent", "model", "address", "key"),
        empty="There is no provider.",
    )


@provider.command("set")
@click.argument("name")
@click.option("--base-url", metavar="URL", help="Where it is called; the vendor's unless given.")
@click.option("--model", metavar="NAME", help="The model for agents that name none.")
@agent_option
@click.option("--default", is_flag=True, help="Agents that name no provider go there.")
@click.option(
    "--plain-http/--no-plain-http",
    default=None,
    help="Accept http to another computer, unencrypted.",
)
@click.option("--key-stdin", is_flag=True, help="Read the key from stdin, on a terminal too.")
@click.option("--no-key", is_flag=True, help="Use no key, and forget the one that was given.")
@click.option(
    "--allow-key-file",
    is_flag=True,
    help="Where there is no keychain, let a file hold the key that seals yours.",
)
@json_option
def set_(
    name: str,
    *,
    base_url: str | None,
    model: str | None,
    agent: str,
    default: bool,
    plain_http: bool | None,
    key_stdin: bool,
    no_key: bool,
    allow_key_file: bool,
    as_json: bool,
) -> None:
    """Set up or change the account with a provider; what is not given stays.

    The key is asked for on a terminal, else read from stdin; never give it as an argument, which others
    can see.
    """
    with server() as house:
        spec = _spec(house, name)
        key = None if no_key else _key(spec, agent, from_stdin=key_stdin)
        body = {
            "agent": agent,
            "base_url": base_url,
            "model": model,
            "plain_http": plain_http,
            "key": key or None,
            "without_key": no_key,
            "default": default,
        }
        try:
            found = house.request("PUT", f"/providers/{name}", body)
        except Refused as exc:
            if exc.kind != "VaultShut" or not consents(house, str(exc), allowed=allow_key_file):
                exc.end()
            found = house.ask("PUT", f"/providers/{name}", body)
    if as_json:
        show.as_json(found)
        return
    whose = f" for agent '{agent}'" if agent else ""
    click.echo(f"{spec['title']} is set{whose}. `salver provider test {name}` makes a call.")
    if found["key_dropped"]:
        click.echo(
            "salver: its key was for the old address and is forgotten. Set the account again with a key for"
            " the new one.",
            err=True,
        )


@provider.command()
@click.argument("name")
@agent_option
@click.option("--model", default="", metavar="NAME", help="This model; the account's unless given.")
@json_option
def test(name: str, agent: str, model: str, as_json: bool) -> None:
    """Make one real call, the smallest there is, and say what came of it."""
    with server(patience=CALL) as house:
        found = house.ask("POST", f"/providers/{name}/test", {"agent": agent, "model": model})
    if as_json:
        show.as_json(found)
    else:
        click.echo(show.plain(found["says"]))
        if found["models"]:
            click.echo(f"It offers, among others: {show.plain(', '.join(found['models']))}")
    if not found["works"]:
        sys.exit(EXIT_FAILED)


@provider.command()
@click.argument("name")
@agent_option
@json_option
def remove(name: str, agent: str, as_json: bool) -> None:
    """Forget the account with a provider, its key included."""
    with server() as house:
        house.ask("DELETE", f"/providers/{name}", **({"agent": agent} if agent else {}))
    if as_json:
        show.as_json({"removed": name, "agent": agent})
    else:
        click.echo(f"The account with '{name}' is removed.")


def _rows(one: dict[str, Any]) -> list[dict[str, Any]]:
    """A line for each account, or one that says that there is none."""
    name = f"{one['name']} (default)" if one["default"] else one["name"]
    if not one["accounts"]:
        nothing = "" if one["wire"] is None else "not set up"
        return [{"provider": name, "agent": "", "model": "", "address": nothing, "key": ""}]
    return [
        {
            "provider": name,
            "agent": account["agent"] or "all",
            "model": account["model"] or one["suggested"],
            "address": account["base_url"],
            "key": "kept" if account["has_key"] else "none",
        }
        for account in one["accounts"]
    ]


def _spec(house: Server, name: str) -> dict[str, Any]:
    found = {one["name"]: one for one in house.ask("GET", "/providers")}
    if name not in found:
        fail(f"There is no provider '{name}'. Providers: {', '.join(found)}.", EXIT_USAGE)
    return found[name]


def _key(spec: dict[str, Any], agent: str, *, from_stdin: bool) -> str:
    """What was typed, hidden, or came by stdin; empty for none."""
    if spec["key"] == "no" and not from_stdin:
        return ""
    if from_stdin or not sys.stdin.isatty():
        try:
            return sys.stdin.buffer.read().decode().strip()
        except UnicodeDecodeError:
            fail("What stdin holds is no key: it is no text in UTF-8.", EXIT_USAGE)
    kept = any(one["agent"] == agent and one["has_key"] for one in spec["accounts"])
    if spec["keys_at"]:
        click.echo(f"Keys are made at {spec['keys_at']}", err=True)
    empty = "keeps the present one" if kept else "means none"
    prompt = f"Key for {spec['title']} (hidden; empty {empty})"
    return str(
        click.prompt(prompt, default="", hide_input=True, show_default=False, err=True)
    ).strip()
