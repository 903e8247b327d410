"""What of the web a session may reach, decided without touching it."""

from dataclasses import dataclass
from typing import Literal, assert_never

from salver_server.kit.hosts import covers

Level = Literal["none", "listed", "public"]
Way = Literal["tunnel", "fetch"]
"""A tunnel carries what it likes to a listed host; a fetch only reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What counts for a session's agent at this moment."""

    level: Level
    sites: tuple[str, ...] = ()
    """In their one spelling."""
    waits: str = ""
    """What a person must do before more counts; empty if nothing waits."""


def objection(reach: Reach, host: str, way: Way) -> str:
    """Why this host, in its one spelling, is out of reach; empty if it is not."""
    if reach.waits:
        return reach.waits
    match reach.level:
        case "none":
            return "this agent has no web ('web: none' in its AGENT.md)"
        case "public" if way == "fetch":
            return ""
        case "listed" | "public":
            return "" if any(covers(site, host) for site in reach.sites) else _unlisted(reach)
        case _:
            assert_never(reach.level)


def _unlisted(reach: Reach) -> str:
    if reach.level == "public":
        return (
            "it is not among the 'sites:' of AGENT.md, so it can only be read, with the fetch tool"
        )
    if not reach.sites:
        return "AGENT.md lists no 'sites:' that this agent may reach"
    return f"it is not among the 'sites:' of AGENT.md, which are {', '.join(reach.sites)}"
