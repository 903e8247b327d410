"""Anthropic's messages, with tools that the runner runs and no others."""

import re
from typing import Any

from salver_server.calls import Tokens
from salver_server.gateway.form import (
    an_object,
    cached_shortly,
    count,
    flag,
    inner,
    model,
    objects,
    only,
    only_kind,
    refuse,
    whole,
    words,
)
from salver_server.gateway.wires import Asked, Json, Route, Usage, WireSpec, fixed

FIELDS = words(
    "model messages system max_tokens stream temperature top_p top_k stop_sequences tools tool_choice thinking"
    " metadata output_config output_format cache_control"
)
BLOCKS = {
    "text": words("text citations cache_control"),
    "image": words("source cache_control"),
    "document": words("source title context citations cache_control"),
    "tool_use": words("id name input caller cache_control"),
    "tool_result": words("tool_use_id content is_error cache_control"),
    "thinking": words("thinking signature"),
    "redacted_thinking": words("data"),
}
SOURCES = {
    "base64": words("media_type data"),
    "text": words("media_type data"),
    "content": words("content"),
}


def understand(body: Json, _: Route) -> Asked:
    only(body, FIELDS, "a request")
    flag(body, "stream")
    cached_shortly(body)
    _content(body.get("system"))
    for message in objects(body.get("messages"), "its 'messages'"):
        only(message, words("role content"), "a message")
        _content(message.get("content"))
    for tool in objects(body.get("tools"), "its 'tools'"):
        if tool.get("type") not in (None, "custom"):
            refuse("Salver lets no tools through that the vendor runs")
        cached_shortly(tool)
    return Asked(body=body, model=model(body), most_output=whole(body, "max_tokens"))


def _content(content: Any) -> None:
    if content is None or isinstance(content, str):
        return
    for block in objects(content, "the content of a message"):
        kind = only_kind(block, BLOCKS, "a message")
        cached_shortly(block)
        if kind in ("image", "document"):
            source = an_object(block.get("source"), f"the source of {kind}")
            if only_kind(source, SOURCES, f"the source of {kind}") == "content":
                _content(source.get("content"))
        elif kind == "tool_result":
            _content(block.get("content"))


def usage(event: Json) -> Usage | None:
    if event.get("type") == "message_start":
        return Usage(counts=inner(inner(event, "message"), "usage"), final=False)
    counts = inner(event, "usage")
    return Usage(counts=counts, final=True) if counts else None


def tokens(counts: Json) -> Tokens:
    read = count(counts, "cache_read_input_tokens")
    written = count(counts, "cache_creation_input_tokens")
    return Tokens(
        input=count(counts, "input_tokens") + read + written,
        output=count(counts, "output_tokens"),
        cache_read=read,
        cache_write=written,
    )


WIRE = WireSpec(
    wire="anthropic",
    key_header="x-api-key",
    passes={
        "anthropic-version": re.compile(r"\d{4}-\d\d-\d\d"),
        "anthropic-beta": re.compile(
            r"(interleaved-thinking|fine-grained-tool-streaming)-2025-05-14"
        ),
    },
    route=fixed(
        Route(method="POST", tail="/v1/messages"),
        # Their SDK says so when it asks for anything that is new.
        Route(method="POST", tail="/v1/messages?beta=true"),
    ),
    understand=understand,
    marker=b'"usage"',
    usage=usage,
    tokens=tokens,
)
