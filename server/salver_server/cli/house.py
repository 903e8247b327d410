"""`salver status`, `salver stop`, `salver resume`."""

import click

from salver_server.cli import show
from salver_server.cli.connection import EXIT_USAGE, fail, json_option, server


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show whether Salver runs, what it works on, and what its sandboxes are held by."""
    with server() as house:
        found = house.ask("GET", "/status")
    if as_json:
        show.as_json(found)
        return
    click.echo(f"Salver {found['version']}, process {found['pid']}, since {found['started_at']}")
    click.echo(f"data        {found['home']}")
    click.echo(f"address     127.0.0.1:{found['port']}")
    click.echo(
        f"state       {'everything is stopped; `salver resume` goes on' if found['stopped'] else 'serving'}"
    )
    click.echo(f"sandboxes   {found['sandboxes']} of at most {found['most_sandboxes']}")
    click.echo(f"messages    {found['running']} running, {found['waiting']} waiting")
    click.echo(f"keychain    {found['keychain']['advice']}")
    for runtime in found["runtimes"]:
        click.echo(f"runtime     {runtime['name']}: {runtime['reason']} {runtime['fix']}".rstrip())
        for limit, holder in runtime["held_by"].items():
            click.echo(f"            {limit}: {holder}")


@click.command()
@click.option(
    "--all", "everything", is_flag=True, help="End every sandbox and start none until resumed."
)
@json_option
def stop(everything: bool, as_json: bool) -> None:
    """Stop everything: no sandbox lives, what waits is kept; `salver resume` goes on."""
    if not everything:
        fail(
            "Say --all to stop everything. One session's turn ends with `salver sessions stop ID`.",
            EXIT_USAGE,
        )
    with server() as house:
        found = house.ask("POST", "/stop")
    if as_json:
        show.as_json(found)
        return
    if found["left"]:
        click.echo(
            f"Sandboxes that do not end: {found['left']}. `salver sessions list` says why.",
            err=True,
        )
    click.echo("Everything is stopped. `salver resume` goes on.")


@click.command()
@json_option
def resume(as_json: bool) -> None:
    """Go on after everything was stopped."""
    with server() as house:
        found = house.ask("POST", "/resume")
    show.as_json(found) if as_json else click.echo("Salver goes on.")
