"""Which model call may go out: from the session itself, heard whole, on the list, and understood."""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from salver_server.gateway.body import read, written
from salver_server.gateway.exchange import LONGEST_BODY, Exchange, Head, Refused
from salver_server.gateway.upstream import Target
from salver_server.gateway.wires import Asked, Route

ASKING = 60.0
"""Seconds within which a request must have arrived."""


def token_hash(token: str) -> bytes:
    """What the gateway keeps of a session's token."""
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A call that may go out."""

    head: Head
    target: Target
    route: Route
    asked: Asked | None
    """None for a call that asks no model."""
    body: bytes


async def whole_body(exchange: Exchange, head: Head, objection: Refused | None) -> bytes:
    """The body of a call that may go on; raises `Refused`, always after the whole request has been read.

    An answer to a client that is still sending may never be read by it.
    """
    wanted = objection is None and head.method == "POST"
    async with asyncio.timeout(ASKING):
        body = await exchange.body(LONGEST_BODY if wanted else 0)
    if objection is not None:
        raise objection
    if body is None:
        raise Refused(413, "request_too_large", "The request is larger than the gateway takes.")
    return body


def stranger(token: str, known: bytes) -> Refused | None:
    if hmac.compare_digest(token_hash(token), known):
        return None
    return Refused(
        401, "session_unknown", "The gateway does not know this session's token. Restart Salver."
    )


def found(head: Head, targets: Mapping[str, Target]) -> tuple[Target, Route] | Refused:
    """Where this model call goes, or why it goes nowhere."""
    for prefix, target in targets.items():
        if not head.path.startswith(prefix):
            continue
        route = target.spec.route(head.path.removeprefix(prefix))
        if route is not None and head.method != route.method:
            return Refused(405, "not_allowed", "The gateway lets no call of this method through.")
        if route is not None:
            return target, route
    return Refused(404, "not_allowed", "The gateway lets no call through to this path.")


def understood(head: Head, target: Target, route: Route, body: bytes) -> Admitted:
    """Raises `Refused` for what holds anything that is not known."""
    if route.method == "GET":
        return Admitted(head=head, target=target, route=route, asked=None, body=b"")
    asked = target.spec.understand(read(body), route)
    if asked.model not in target.models:
        raise Refused(
            400,
            "bad_request",
            f"This session is not set up with the model {asked.model!r} of {target.title}. Name it in AGENT.md.",
        )
    return Admitted(head=head, target=target, route=route, asked=asked, body=written(asked.body))
