"""What the gateway knows of each format that vendors speak; one file each, exporting `WIRE`.

All that may pass is listed, down to the fields of a message. Vendors add ways to spend money, to keep things
and to reach the web faster than anybody could refuse them one by one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from salver_server.calls import Tokens, Wire

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One call that may go out."""

    method: Literal["GET", "POST"]
    tail: str
    """Where it goes below the upstream's base."""
    model: str = ""
    """Where the path names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it was understood."""

    body: Json
    """As it goes out."""
    model: str
    most_output: int | None
    """Tokens; None where it sets no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an answer, or one event of it, says of its tokens."""

    counts: Json
    """In the vendor's words; a later one completes an earlier one."""
    final: bool
    """Whether no later one will say more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireSpec:
    """What a wire's file exports as `WIRE`."""

    wire: Wire
    key_header: Literal["authorization", "x-api-key", "x-goog-api-key"]
    """Where the vendor looks for the key."""
    passes: Mapping[str, re.Pattern[str]] = field(default_factory=dict[str, re.Pattern[str]])
    """Further headers of a request that go out, and what they may say."""
    route: Callable[[str], Route | None]
    """The call that a path means, compared letter by letter: nothing is decoded, resolved or joined before."""
    understand: Callable[[Json, Route], Asked]
    """Raises `Refused` for a request that holds anything else than what is known."""
    marker: bytes
    """What stands in every event that tells tokens, so that the others need not be read."""
    usage: Callable[[Json], Usage | None]
    tokens: Callable[[Json], Tokens]


def fixed(*routes: Route) -> Callable[[str], Route | None]:
    """The lookup of a wire whose paths are always the same."""
    return {route.tail: route for route in routes}.get
