"""`salver keychain`: where the key rests that seals every secret, and what secrets were used for."""

import sys

import click

from salver_server.cli import show
from salver_server.cli.connection import EXIT_FAILED, Server, fail, json_option, server

CONSENT = (
    "A key file can stand in for a keychain: secrets.key in Salver's data folder, which only your user may"
    " read. Whoever gets at your files then gets at your keys; so do backups."
)


@click.group()
def keychain() -> None:
    """See to the key that seals your secrets, and to what they are used for."""


@keychain.command()
@json_option
def status(as_json: bool) -> None:
    """Show how the key stands; asks no keychain."""
    _ask("GET", "", as_json=as_json)


@keychain.command()
@json_option
def unlock(as_json: bool) -> None:
    """Ask your keychain for the key now, prompt and all."""
    _ask("POST", "/unlock", as_json=as_json)


@keychain.command("allow-file")
@json_option
def allow_file(as_json: bool) -> None:
    """Let a file hold the key where there is no keychain."""
    _ask("POST", "/allow-file", as_json=as_json)


@keychain.command()
@json_option
def move(as_json: bool) -> None:
    """Move the key from its file to your keychain."""
    _ask("POST", "/move", as_json=as_json)


@keychain.command()
@json_option
def rotate(as_json: bool) -> None:
    """Seal every secret with a new key."""
    _ask("POST", "/rotate", as_json=as_json)


@keychain.command()
@click.argument("name", required=False)
@json_option
def uses(name: str | None, as_json: bool) -> None:
    """List what secrets were handed out for, the latest first; NAME is one, like provider.openai."""
    with server() as house:
        found = house.ask("GET", "/keychain/uses", **({"secret": name} if name else {}))
    if as_json:
        show.as_json(found)
    else:
        show.table(found, ("at", "secret", "purpose", "session"), empty="No secret was used yet.")


def consents(house: Server, why: str, *, allowed: bool) -> bool:
    """Whether a key file may stand in for the keychain, which can't be had; then it does."""
    if house.ask("GET", "/keychain")["state"] not in ("locked", "absent", "refused"):
        return False
    if not allowed:
        if not sys.stdin.isatty():
            fail(f"{why} Consent to one with --allow-key-file.", EXIT_FAILED)
        click.echo(f"{why}\n{CONSENT}", err=True)
        if not click.confirm("Allow a key file?", err=True):
            return False
    house.ask("POST", "/keychain/allow-file")
    return True


def _ask(method: str, path: str, *, as_json: bool) -> None:
    with server() as house:
        found = house.ask(method, f"/keychain{path}")
    if as_json:
        show.as_json(found)
    else:
        click.echo(found["advice"])
    if found["state"] in ("waiting", "locked", "absent", "refused", "missing"):
        sys.exit(EXIT_FAILED)
