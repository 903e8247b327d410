"""What a vendor said when it did not answer, in one shape, and which trouble that is.

Vendors word the same trouble in many ways, and several troubles in one way; the tests hold their real
words. A code or kind is believed before a status, and both before a text.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError

Trouble = Literal[
    "key_refused",
    "quota",
    "rate_limit",
    "overload",
    "network",
    "context_full",
    "refused",
    "unknown_model",
    "rejected",
    "gateway",
    "unreadable",
]

Json = dict[str, Any]

GATEWAYS_OWN: dict[str, Trouble] = {
    "key_refused": "key_refused",
    "key_missing": "key_refused",
    "key_unavailable": "key_refused",
    "upstream_timeout": "network",
    "upstream_unreachable": "network",
    "request_too_large": "context_full",
    "session_unknown": "gateway",
    "not_allowed": "gateway",
    "bad_request": "gateway",
    "over_budget": "gateway",
    "price_unknown": "gateway",
    "upstream_redirects": "gateway",
    "web_refused": "gateway",
}
"""Codes of the gateway's refusals; their words are made for people."""

CODES: dict[str, Trouble] = {
    "context_length_exceeded": "context_full",
    "exceed_context_size_error": "context_full",
    "request_too_large": "context_full",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "billing_error": "quota",
    "invalid_api_key": "key_refused",
    "authentication_error": "key_refused",
    "permission_error": "key_refused",
    "API_KEY_INVALID": "key_refused",
    "UNAUTHENTICATED": "key_refused",
    "PERMISSION_DENIED": "key_refused",
    "invalid_prompt": "refused",
    "content_filter": "refused",
    "content_policy_violation": "refused",
    "image_content_policy_violation": "refused",
    "flagged": "refused",
    "model_not_found": "unknown_model",
    "not_found_error": "unknown_model",
    "NOT_FOUND": "unknown_model",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "RESOURCE_EXHAUSTED": "rate_limit",
    "slow_down": "overload",
    "overloaded": "overload",
    "overloaded_error": "overload",
    "server_is_overloaded": "overload",
    "service_unavailable_error": "overload",
    "server_error": "overload",
    "internal_server_error": "overload",
    "api_error": "overload",
    "timeout_error": "overload",
    "UNAVAILABLE": "overload",
    "INTERNAL": "overload",
    "DEADLINE_EXCEEDED": "overload",
}

PHRASES: tuple[tuple[str, Trouble], ...] = (
    ("maximum context length", "context_full"),
    ("reduce the length of the messages", "context_full"),
    ("prompt is too long", "context_full"),
    ("input is too long", "context_full"),
    ("exceed context limit", "context_full"),
    ("exceeds the context window", "context_full"),
    ("exceeds the available context size", "context_full"),
    ("exceeds the maximum number of tokens", "context_full"),
    ("request too large for", "context_full"),
    ("credit balance is too low", "quota"),
    ("insufficient credits", "quota"),
    ("-per-day", "quota"),
    ("enable billing", "quota"),
    ("api key not valid", "key_refused"),
    ("api key expired", "key_refused"),
    ("try pulling it first", "unknown_model"),
    ("is not a valid model id", "unknown_model"),
    ("no endpoints found", "unknown_model"),
)
"""What tells a trouble that its code or status hides, in small letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    status: int | None
    codes: tuple[str, ...]
    """Code, kind and whatever else has a name of its own, most telling first."""
    words: str
    """Made for people; empty where nothing was."""
    wait: float | None
    """Seconds, where the vendor asked for them."""
    gateway: str
    """The code of the gateway's own refusal; empty for what a vendor said."""


def complaint(exc: ModelAPIError) -> Complaint:
    said = _said(exc.body)
    code = str(said.get("code") or exc.provider_error_code or "")
    headers = (exc.headers or {}) if isinstance(exc, ModelHTTPError) else {}
    gateway = headers.get("x-salver-code") or (code if code in GATEWAYS_OWN else "")
    details = _objects(said.get("details"))
    return Complaint(
        status=_status(exc, code),
        codes=tuple(
            name
            for name in (
                *_named(details),
                *_flags(said.get("metadata")),
                code,
                str(said.get("type") or exc.provider_error_type or ""),
                str(said.get("status") or ""),
            )
            if name
        ),
        words=_words(said),
        wait=exc.retry_after if exc.retry_after is not None else _delay(details),
        gateway=gateway,
    )


def trouble(said: Complaint) -> Trouble:
    if said.gateway:
        return GATEWAYS_OWN.get(said.gateway, "gateway")
    if (quota := _quota(said)) is not None:
        return quota
    text = said.words.lower()
    for phrase, meant in PHRASES:
        if phrase in text:
            return meant
    by_status = _by_status(said.status)
    for code in said.codes:
        # Some say `api_error` of everything; a status that blames the request knows better.
        if code in CODES and (CODES[code] != "overload" or by_status in ("overload", "unreadable")):
            return CODES[code]
    return by_status


def _status(exc: ModelAPIError, code: str) -> int | None:
    """In a stream that has begun well some vendors give the status as the code."""
    if isinstance(exc, ModelHTTPError):
        return exc.status_code
    return int(code) if code.isdigit() else None


def _quota(said: Complaint) -> Trouble | None:
    """Google says RESOURCE_EXHAUSTED of a minute's limit and of a day's; only the limit's name tells."""
    limits = [code for code in said.codes if "PerDay" in code or "PerMinute" in code]
    if not limits:
        return None
    return "quota" if any("PerDay" in limit for limit in limits) else "rate_limit"


def _by_status(status: int | None) -> Trouble:
    match status:
        case None:
            return "unreadable"
        case 401 | 403:
            return "key_refused"
        case 402:
            return "quota"
        case 404:
            return "unknown_model"
        case 413:
            return "context_full"
        case 408 | 425:
            return "overload"
        case 429:
            return "rate_limit"
        case _:
            return "overload" if status >= 500 else "rejected"


def _said(body: object) -> Json:
    """The error itself, out of whatever it came in."""
    match cast("Any", body):
        case [first, *_]:
            return _said(first)
        case {"error": error}:
            return _said(error)
        case str(words):
            return {"message": words}
        case {}:
            return cast("Json", body)
        case _:
            return {}


def _words(said: Json) -> str:
    """What is made for people: never JSON; what a vendor only handed on comes first."""
    metadata = said.get("metadata")
    raw = cast("Json", metadata).get("raw") if isinstance(metadata, dict) else None
    for words in (raw, said.get("message")):
        if isinstance(words, str) and words.strip():
            if (inner := _inner(words)) is None:
                return " ".join(words.split())
            if inner:
                return inner
    return ""


def _inner(words: str) -> str | None:
    """The words in what is JSON, empty if it has none; None for what is no JSON."""
    if words.strip()[0] not in "{[":
        return None
    try:
        return _words(_said(json.loads(words)))
    except ValueError:
        return ""


def _named(details: list[Json]) -> list[str]:
    """Google: the reason and the limits that its details name."""
    reasons = [str(one["reason"]) for one in details if "reason" in one]
    violations = [two for one in details for two in _objects(one.get("violations"))]
    return reasons + [str(two.get("quotaId", "")) for two in violations]


def _flags(metadata: object) -> list[str]:
    """OpenRouter: what its moderation found."""
    return ["flagged"] if isinstance(metadata, dict) and "reasons" in metadata else []


def _delay(details: list[Json]) -> float | None:
    """Google: "retryDelay": "39s"."""
    for one in details:
        delay = str(one.get("retryDelay", ""))
        if delay.endswith("s") and delay[:-1].replace(".", "", 1).isdigit():
            return float(delay[:-1])
    return None


def _objects(value: object) -> list[Json]:
    held = cast("list[Any]", value) if isinstance(value, list) else []
    return [one for one in held if isinstance(one, dict)]
