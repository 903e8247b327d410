"""What an AGENT.md asks for beyond the sandbox, and whether a person agreed to exactly that."""

import json
from collections.abc import Iterator

from salver_server.agents.definition import Definition


def asks(definition: Definition) -> str:
    """In one spelling, as JSON; empty where nothing is asked for."""
    sites = sorted(set(definition.sites))
    if definition.web == "none" or (definition.web == "listed" and not sites):
        return ""
    return json.dumps({"web": definition.web, "sites": sites}, separators=(",", ":"))


def waits(name: str, definition: Definition, agreed: str) -> str:
    """What a person must do before it counts, in words; empty if nothing waits."""
    if asks(definition) in ("", agreed):
        return ""
    return f"web: waits for your consent: `salver agents allow {name}`"


def told(definition: Definition) -> Iterator[str]:
    """What is asked for, line by line, as a person is to read it before agreeing."""
    if not asks(definition):
        return
    yield f"web: {definition.web}"
    if definition.web == "public":
        yield "  It may read any page of the public internet."
    for site in sorted(set(definition.sites)):
        yield f"  It may exchange anything with {site} by https."
