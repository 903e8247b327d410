"""What of a request is understood, what goes out of it, and what is refused; by wire."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from salver_server.calls import Wire
from salver_server.gateway.body import read
from salver_server.gateway.exchange import Refused
from salver_server.gateway.upstream import WIRES
from salver_server.gateway.wires import Asked, Json, Route

WAY = Route(method="POST", tail="", model="gemini-2.5-flash")
IMAGE = "data:image/png;base64,QUJD"


def understood(wire: Wire, body: Json) -> Asked:
    return WIRES[wire].understand(read(json.dumps(body).encode()), WAY)


def said(content: Any) -> Json:
    return {"messages": [{"role": "user", "content": content}]}


def put(item: Json) -> Json:
    return {"input": [item]}


def part(item: Json) -> Json:
    return {"contents": [{"role": "user", "parts": [item]}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    id: str
    wire: Wire
    body: Json
    most_output: int | None = None
    added: Json = field(default_factory=dict[str, Any])
    """What goes out beyond what came."""


TOOL = {"name": "shell", "description": "Run.", "parameters": {"type": "object"}}
PASSES = [
    Case(
        id="a turn over chat completions",
        wire="chat",
        body={
            "messages": [
                {"role": "system", "content": "Be kind."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": IMAGE}},
                        {"type": "file", "file": {"filename": "a.pdf", "file_data": IMAGE}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "Hm.",
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "shell", "arguments": '{"file_id": "x"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "done"},
            ],
            "tools": [{"type": "function", "function": TOOL}],
            "tool_choice": "auto",
            "stream": True,
            "max_tokens": 100,
            "max_completion_tokens": 300,
            "n": 1,
            "store": False,
        },
        most_output=300,
        added={"stream_options": {"include_usage": True}},
    ),
    Case(
        id="a client that hides its usage",
        wire="chat",
        body={
            "stream": True,
            "stream_options": {"include_usage": False, "continuous_usage_stats": True},
        },
        added={"stream_options": {"include_usage": True}},
    ),
    Case(id="an answer in one piece", wire="chat", body=said("hello")),
    Case(
        id="a turn over responses",
        wire="responses",
        body={
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Look."}]},
                {
                    "role": "user",
                    "content": [{"type": "input_image", "image_url": IMAGE, "detail": "auto"}],
                },
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
                {
                    "type": "function_call",
                    "id": "fc_1",
                    "call_id": "call_1",
                    "name": "shell",
                    "arguments": "{}",
                },
                {"type": "function_call_output", "call_id": "call_1", "output": "done"},
                {
                    "type": "message",
                    "id": "msg_1",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": "Yes.", "annotations": []}],
                },
            ],
            "instructions": "Be kind.",
            "tools": [{"type": "function", **TOOL}],
            "include": ["reasoning.encrypted_content"],
            "reasoning": {"effort": "low"},
            "stream": True,
            "background": False,
            "previous_response_id": None,
            "max_output_tokens": 64,
        },
        most_output=64,
        added={"store": False},
    ),
    Case(
        id="a turn over generateContent",
        wire="google",
        body={
            "contents": [
                {"role": "user", "parts": [{"text": "Look."}]},
                {
                    "role": "user",
                    "parts": [{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}],
                },
                {
                    "role": "model",
                    "parts": [
                        {
                            "functionCall": {"name": "shell", "args": {"fileUri": "x"}},
                            "thoughtSignature": "sig",
                        }
                    ],
                },
                {
                    "role": "user",
                    "parts": [{"functionResponse": {"name": "shell", "response": {"x": 1}}}],
                },
            ],
            "systemInstruction": {"parts": [{"text": "Be kind."}]},
            "tools": [{"functionDeclarations": [TOOL]}],
            "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
            "generationConfig": {
                "maxOutputTokens": 500,
                "candidateCount": 1,
                "thinkingConfig": {"includeThoughts": True},
            },
        },
        most_output=500,
    ),
    Case(
        id="a turn over messages",
        wire="anthropic",
        body={
            "max_tokens": 1024,
            "system": [
                {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}
            ],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {
                                "type": "base64",
                                "media_type": "image/png",
                                "data": "QUJD",
                            },
                        }
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
                        {
                            "type": "tool_use",
                            "id": "toolu_1",
                            "name": "shell",
                            "input": {"type": "url", "url": "http://a.test"},
                        },
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_1",
                            "content": [{"type": "text", "text": "done"}],
                        }
                    ],
                },
            ],
            "tools": [{"name": "shell", "input_schema": {"type": "object"}}, {"type": "custom"}],
            "thinking": {"type": "enabled", "budget_tokens": 512},
            "stream": True,
        },
        most_output=1024,
    ),
]


@pytest.mark.parametrize("case", PASSES, ids=lambda case: case.id)
def test_what_a_turn_needs_goes_out_as_it_was_said(case: Case) -> None:
    body = case.body if case.wire == "google" else {"model": "m", **case.body}
    asked = understood(case.wire, body)
    assert asked.body == body | case.added
    assert asked.model == ("gemini-2.5-flash" if case.wire == "google" else "m")
    assert asked.most_output == case.most_output


REFUSED: list[tuple[Wire, Json, str]] = [
    # Money
    ("chat", {"n": 2}, "more than one answer"),
    ("chat", {"n": "2"}, "'n'"),
    ("chat", {"stream": "yes"}, "'stream'"),
    ("chat", {"stream": 1}, "'stream'"),
    ("chat", {"max_tokens": "9"}, "'max_tokens'"),
    ("chat", {"max_tokens": True}, "'max_tokens'"),
    ("chat", {"max_tokens": -1}, "'max_tokens'"),
    ("chat", {"max_completion_tokens": 1.5}, "'max_completion_tokens'"),
    ("chat", {"service_tier": "priority"}, "service_tier"),
    ("chat", {"modalities": ["text", "audio"]}, "modalities"),
    ("responses", {"service_tier": "priority"}, "service_tier"),
    ("responses", {"background": True}, "background"),
    ("responses", {"max_output_tokens": 10**10}, "'max_output_tokens'"),
    ("google", {"generationConfig": {"candidateCount": 2}}, "more than one answer"),
    ("google", {"generationConfig": {"candidate_count": 2}}, "candidate_count"),
    ("google", {"generation_config": {}}, "generation_config"),
    ("google", {"generationConfig": {"responseModalities": ["IMAGE"]}}, "responseModalities"),
    ("google", {"generationConfig": []}, "generationConfig"),
    ("anthropic", {"service_tier": "auto"}, "service_tier"),
    ("anthropic", {"speed": "fast"}, "speed"),
    ("anthropic", {"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "cached for longer"),
    (
        "chat",
        said([{"type": "text", "text": "a", "cache_control": {"ttl": "1h"}}]),
        "cached for longer",
    ),
    ("anthropic", {"tools": [{"name": "a", "cache_control": {"ttl": "1h"}}]}, "cached for longer"),
    # What others said, and what lies there
    ("chat", {"store": True}, "store"),
    ("chat", {"metadata": {"a": "b"}}, "metadata"),
    ("chat", {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, "audio"),
    ("chat", said([{"type": "file", "file": {"file_id": "file-1"}}]), "file_id"),
    ("responses", {"store": True}, "store"),
    ("responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("responses", {"conversation": "conv_1"}, "conversation"),
    ("responses", {"prompt": {"id": "pmpt_1"}}, "prompt"),
    ("responses", put({"type": "item_reference", "id": "msg_1"}), "item_reference"),
    ("responses", put({"type": "compaction", "id": "cmp_1"}), "compaction"),
    (
        "responses",
        put({"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}),
        "file_id",
    ),
    (
        "responses",
        put({"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}),
        "file_id",
    ),
    ("google", {"cachedContent": "cachedContents/1"}, "cachedContent"),
    ("google", {"cached_content": "cachedContents/1"}, "cached_content"),
    ("google", part({"fileData": {"fileUri": "https://a.test"}}), "fileData"),
    ("google", part({"file_data": {"file_uri": "https://a.test"}}), "file_data"),
    (
        "google",
        part({"functionResponse": {"parts": [{"fileData": {"fileUri": "x"}}]}}),
        "fileData",
    ),
    ("anthropic", {"container": "container_1"}, "container"),
    (
        "anthropic",
        said([{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]),
        "file",
    ),
    ("anthropic", said([{"type": "container_upload", "file_id": "file_1"}]), "container_upload"),
    # The web, and what the vendor would run
    ("chat", {"web_search_options": {}}, "web_search_options"),
    ("chat", {"plugins": [{"id": "web"}]}, "plugins"),
    ("chat", {"models": ["a", "b"]}, "models"),
    ("chat", {"model": "openai/gpt-5:online"}, "reaches the web"),
    ("chat", {"model": "@preset/mine"}, "set up elsewhere"),
    ("chat", {"tools": [{"type": "builtin_function"}]}, "builtin_function"),
    ("chat", {"tools": [{"function": TOOL}]}, "tools"),
    (
        "chat",
        said([{"type": "image_url", "image_url": {"url": "https://a.test/?secret"}}]),
        "as data",
    ),
    ("chat", said([{"type": "image_url", "image_url": "https://a.test"}]), "as data"),
    ("chat", said([{"type": "file", "file": {"file_data": "https://a.test"}}]), "as data"),
    ("chat", said([{"type": "video_url", "video_url": {"url": IMAGE}}]), "video_url"),
    *(
        ("responses", {"tools": [{"type": kind}]}, kind)
        for kind in (
            "web_search",
            "web_search_preview",
            "file_search",
            "code_interpreter",
            "mcp",
            "image_generation",
            "shell",
            "computer_use_preview",
        )
    ),
    (
        "responses",
        put({"role": "user", "content": [{"type": "input_file", "file_url": "https://a.test"}]}),
        "file_url",
    ),
    (
        "responses",
        put(
            {
                "type": "function_call_output",
                "output": [{"type": "input_image", "image_url": "https://a.test"}],
            }
        ),
        "as data",
    ),
    ("google", {"tools": [{"googleSearch": {}}]}, "googleSearch"),
    ("google", {"tools": [{"google_search": {}}]}, "google_search"),
    ("google", {"tools": [{"urlContext": {}}]}, "urlContext"),
    ("google", {"tools": [{"codeExecution": {}}]}, "codeExecution"),
    ("google", {"tools": [{"functionDeclarations": [], "googleMaps": {}}]}, "googleMaps"),
    ("google", {"tools": {"googleSearch": {}}}, "list"),
    ("google", {"contents": {"parts": [{"fileData": {}}]}}, "list"),
    ("google", part({"executableCode": {"code": "1"}}), "executableCode"),
    ("google", {"systemInstruction": {"parts": [{"fileData": {}}]}}, "fileData"),
    ("anthropic", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
    ("anthropic", {"tools": [{"type": "code_execution_20250825"}]}, "tools"),
    ("anthropic", {"mcp_servers": [{"type": "url", "url": "https://a.test"}]}, "mcp_servers"),
    (
        "anthropic",
        said([{"type": "image", "source": {"type": "url", "url": "https://a.test"}}]),
        "url",
    ),
    (
        "anthropic",
        said(
            [
                {
                    "type": "tool_result",
                    "content": [{"type": "image", "source": {"type": "url", "url": "https://a"}}],
                }
            ]
        ),
        "url",
    ),
    (
        "anthropic",
        said(
            [
                {
                    "type": "document",
                    "source": {
                        "type": "content",
                        "content": [{"type": "image", "source": {"type": "file"}}],
                    },
                }
            ]
        ),
        "file",
    ),
    ("anthropic", {"system": [{"type": "image", "source": {"type": "url"}}]}, "url"),
    # What is no request
    ("chat", {"model": ""}, "names no model"),
    ("chat", {"model": None}, "names no model"),
    ("chat", {"model": ["m"]}, "names no model"),
    ("chat", {"model": "m" * 201}, "names no model"),
    ("chat", {"model": "m\n"}, "names no model"),
    ("chat", {"messages": {"role": "user"}}, "list"),
    ("chat", {"messages": ["hello"]}, "no object"),
    ("chat", said({"type": "text"}), "list"),
    ("chat", said([{"text": "no type"}]), "a message"),
    ("responses", {"instructions": [{"type": "input_file"}]}, "instructions"),
    ("responses", {"input": {"role": "user"}}, "list"),
    ("anthropic", {"system": {"type": "text"}}, "list"),
    ("chat", {"x" * 10_000: 1}, "xxx"),
]


@pytest.mark.parametrize(("wire", "body", "words"), REFUSED)
def test_what_is_not_known_is_refused_with_a_sentence(wire: Wire, body: Json, words: str) -> None:
    with pytest.raises(Refused) as said:
        understood(wire, body if wire == "google" else {"model": "m", **body})
    assert (said.value.status, said.value.code) == (400, "bad_request")
    assert words in str(said.value)
    assert len(str(said.value)) < 300
