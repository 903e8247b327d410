"""The body of a request: read once, and written anew, so that what goes out is what was understood."""

from typing import Any

from pydantic import TypeAdapter

from salver_server.gateway.exchange import Refused

JsonObject = TypeAdapter(dict[str, Any])
"""Faster than the standard library, and of two equal keys it keeps the last alone."""
MOST_VALUES = 250_000
"""Each takes some hundred bytes of memory, and a sandbox chooses how many there are."""
SHORTEST_TO_COUNT = 2 * MOST_VALUES
"""Bytes below which there cannot be more: a value takes two."""


def read(body: bytes) -> dict[str, Any]:
    """Raises `Refused`."""
    if len(body) > SHORTEST_TO_COUNT and sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise Refused(413, "request_too_large", "The request is larger than the gateway takes.")
    try:
        return JsonObject.validate_json(body)
    except ValueError as exc:
        raise Refused(
            400, "bad_request", "The model was not asked: the request is no JSON object."
        ) from exc


def written(body: dict[str, Any]) -> bytes:
    return JsonObject.dump_json(body)
