"""OpenAI's responses, without all that the vendor would keep or do by itself."""

from typing import Any

from salver_server.calls import Tokens
from salver_server.gateway.form import (
    count,
    flag,
    inline,
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
    "model input instructions stream stream_options max_output_tokens temperature top_p top_logprobs tools"
    " tool_choice parallel_tool_calls text reasoning include truncation user safety_identifier prompt_cache_key"
    " prompt_cache_retention"
)
ITEMS = {
    "message": words("role content id status phase"),
    "function_call": words("id call_id name arguments status"),
    "function_call_output": words("id call_id output status"),
    "reasoning": words("id summary content encrypted_content status"),
}
PARTS = {
    "input_text": words("text"),
    "output_text": words("text annotations logprobs"),
    "refusal": words("refusal"),
    "input_image": words("detail image_url"),
    "input_file": words("filename file_data"),
}
TOOLS = {"function": words("name description parameters strict")}


def understand(body: Json, _: Route) -> Asked:
    only(body, FIELDS, "a request")
    flag(body, "stream")
    if not isinstance(body.get("input"), str):
        for item in objects(body.get("input"), "its 'input'"):
            _item(item)
    if not isinstance(body.get("instructions"), str | None):
        refuse("its 'instructions' have to be a text")
    for tool in objects(body.get("tools"), "its 'tools'"):
        only_kind(tool, TOOLS, "its tools")
    # The vendor would keep it otherwise, and the session does.
    out = body | {"store": False}
    return Asked(body=out, model=model(body), most_output=whole(body, "max_output_tokens"))


def _item(item: Json) -> None:
    match only_kind({"type": "message"} | item, ITEMS, "its input"):
        case "message":
            _content(item.get("content"))
        case "function_call_output":
            _content(item.get("output"))
        case _:
            pass


def _content(content: Any) -> None:
    if content is None or isinstance(content, str):
        return
    for part in objects(content, "the content of its input"):
        match only_kind(part, PARTS, "its input"):
            case "input_image":
                inline(part.get("image_url"), "an image")
            case "input_file":
                inline(part.get("file_data"), "a file")
            case _:
                pass


def usage(event: Json) -> Usage | None:
    # The last event of a stream holds the answer as it would have come in one piece.
    counts = inner(inner(event, "response"), "usage") or inner(event, "usage")
    return Usage(counts=counts, final=True) if counts else None


def tokens(counts: Json) -> Tokens:
    return Tokens(
        input=count(counts, "input_tokens"),
        output=count(counts, "output_tokens"),
        cache_read=count(counts, "input_tokens_details", "cached_tokens"),
        cache_write=count(counts, "input_tokens_details", "cache_write_tokens"),
    )


WIRE = WireSpec(
    wire="responses",
    key_header="authorization",
    route=fixed(Route(method="POST", tail="/responses"), Route(method="GET", tail="/models")),
    understand=understand,
    marker=b'"usage"',
    usage=usage,
    tokens=tokens,
)
