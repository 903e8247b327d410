"""`salver skills`: list."""

import click

from salver_server.cli import show
from salver_server.cli.connection import json_option, server

WIDEST = 60
"""Characters of a description in the list."""


@click.group()
def skills() -> None:
    """See the skills that agents may be given; each is a folder with a SKILL.md."""


@skills.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the skills, the agents that have them, and what is wrong with any."""
    with server() as house:
        found = house.ask("GET", "/skills")
    if as_json:
        show.as_json(found)
        return
    rows = [
        {
            **skill,
            "description": show.brief(skill["description"], WIDEST),
            "agents": ", ".join(skill["agents"]),
        }
        for skill in found
    ]
    show.table(
        rows,
        ("name", "agents", "description", "problem"),
        empty="There is no skill. Put one in skills/<name>/SKILL.md of the data folder.",
    )
