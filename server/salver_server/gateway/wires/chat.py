"""OpenAI's chat completions, which most vendors and local servers speak, too."""

from typing import Any

from salver_server.calls import Tokens
from salver_server.gateway.form import (
    cached_shortly,
    count,
    flag,
    inline,
    inner,
    model,
    most,
    objects,
    one_answer,
    only,
    only_kind,
    refuse,
    whole,
    words,
)
from salver_server.gateway.wires import Asked, Json, Route, Usage, WireSpec, fixed

FIELDS = words(
    "model messages stream stream_options max_tokens max_completion_tokens n temperature top_p top_k min_p top_a"
    " frequency_penalty presence_penalty repetition_penalty stop seed logit_bias logprobs top_logprobs tools"
    " tool_choice parallel_tool_calls response_format reasoning_effort reasoning include_reasoning verbosity"
    " thinking think enable_thinking chat_template_kwargs usage user safety_identifier prompt_cache_key"
    " prompt_cache_retention"
)
MESSAGE = words(
    "role content name tool_calls tool_call_id refusal reasoning reasoning_content reasoning_details thinking"
)
PARTS = {
    "text": words("text cache_control"),
    "refusal": words("refusal"),
    "thinking": words("thinking"),
    "image_url": words("image_url cache_control"),
    "input_audio": words("input_audio"),
    "file": words("file cache_control"),
}
TOOLS = {"function": words("function cache_control")}


def understand(body: Json, _: Route) -> Asked:
    only(body, FIELDS, "a request")
    one_answer(body, "n")
    for message in objects(body.get("messages"), "its 'messages'"):
        only(message, MESSAGE, "a message")
        _content(message.get("content"))
    for tool in objects(body.get("tools"), "its 'tools'"):
        only_kind(tool, TOOLS, "its tools")
        cached_shortly(tool)
    name = model(body)
    if name.endswith(":online") or "@preset/" in name:
        refuse(f"the model {name!r} stands for one that reaches the web or is set up elsewhere")
    # Without it no tokens are told at the end of a stream.
    told = {"stream_options": {"include_usage": True}} if flag(body, "stream") else {}
    limit = most(whole(body, "max_tokens"), whole(body, "max_completion_tokens"))
    return Asked(body=body | told, model=name, most_output=limit)


def _content(content: Any) -> None:
    if content is None or isinstance(content, str):
        return
    for part in objects(content, "the content of a message"):
        cached_shortly(part)
        match only_kind(part, PARTS, "a message"):
            case "image_url":
                inline(inner(part, "image_url").get("url"), "an image")
            case "file":
                only(inner(part, "file"), words("filename file_data"), "a file")
                inline(inner(part, "file").get("file_data"), "a file")
            case _:
                pass


def usage(event: Json) -> Usage | None:
    counts = inner(event, "usage")
    if not counts:
        return None
    # Some tell how far they are with each piece. Who doesn't, tells it after the last one.
    choices = objects(event.get("choices"), "the answer")
    final = not choices or any(choice.get("finish_reason") for choice in choices)
    return Usage(counts=counts, final=final)


def tokens(counts: Json) -> Tokens:
    input_, output = count(counts, "prompt_tokens"), count(counts, "completion_tokens")
    return Tokens(
        input=input_,
        # Some leave the thinking out of it, but not out of the sum.
        output=max(output, count(counts, "total_tokens") - input_),
        cache_read=count(counts, "prompt_tokens_details", "cached_tokens"),
        cache_write=count(counts, "prompt_tokens_details", "cache_write_tokens"),
    )


WIRE = WireSpec(
    wire="chat",
    key_header="authorization",
    route=fixed(
        Route(method="POST", tail="/chat/completions"), Route(method="GET", tail="/models")
    ),
    understand=understand,
    marker=b'"usage"',
    usage=usage,
    tokens=tokens,
)
