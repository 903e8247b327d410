"""Answers as vendors give them, and the tokens that they tell."""

import json
from dataclasses import dataclass
from typing import Any

from salver_server.calls import Tokens, Wire

STREAM = "text/event-stream; charset=utf-8"
PIECE = "application/json; charset=UTF-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    id: str
    wire: Wire
    text: bytes
    content_type: str = STREAM
    tokens: Tokens | None
    counted_after: bytes = b""
    """What has to have come before the tokens are known; empty for the whole."""


def data(*events: Any, end: str = "\n\n") -> bytes:
    return "".join(f"data: {json.dumps(event)}{end}" for event in events).encode()


def named(*events: dict[str, Any]) -> bytes:
    return "".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events
    ).encode()


def chunk(choices: list[Any], usage: Any = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-5-mini",
        "choices": choices,
        "usage": usage,
    }


def delta(text: str, reason: str | None = None) -> list[Any]:
    return [{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": reason}]


CHAT_USAGE = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 256},
}
CHAT_TOKENS = Tokens(input=2006, output=300, cache_read=1920)

RESPONSE_USAGE = {
    "input_tokens": 328,
    "input_tokens_details": {"cached_tokens": 128},
    "output_tokens": 52,
    "output_tokens_details": {"reasoning_tokens": 32},
    "total_tokens": 380,
}
RESPONSE_TOKENS = Tokens(input=328, output=52, cache_read=128)


def response(status: str, usage: Any) -> dict[str, Any]:
    output = [{"type": "message", "content": [{"type": "output_text", "text": '"usage"'}]}]
    return {"id": "resp_1", "status": status, "output": output, "usage": usage}


GEMINI_USAGE = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 60,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 35,
    "totalTokenCount": 155,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
}
GEMINI_TOKENS = Tokens(input=100, output=55, cache_read=60)


def gemini(text: str, usage: Any, reason: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}}
    if reason:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}


MESSAGE_START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "usage": {
            "input_tokens": 25,
            "cache_creation_input_tokens": 300,
            "cache_read_input_tokens": 2000,
            "output_tokens": 1,
        },
    },
}
MESSAGE_DELTA: dict[str, Any] = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 15},
}
MESSAGE_TOKENS = Tokens(input=2325, output=15, cache_read=2000, cache_write=300)


def words(text: str) -> dict[str, Any]:
    block = {"type": "text_delta", "text": text}
    return {"type": "content_block_delta", "index": 0, "delta": block}


ANSWERS = [
    Answer(
        id="chat, streamed",
        wire="chat",
        text=data(chunk(delta("Hel")), chunk(delta("", "stop")), chunk([], CHAT_USAGE))
        + b"data: [DONE]\n\n",
        tokens=CHAT_TOKENS,
        counted_after=b"data: [DONE]",
    ),
    Answer(
        id="chat, streamed by a vendor that tells each time and ends without an empty choice",
        wire="chat",
        text=b": OPENROUTER PROCESSING\n\n"
        + data(
            chunk(delta("Hel"), {"prompt_tokens": 9, "completion_tokens": 1}),
            chunk(delta("lo"), {"prompt_tokens": 9, "completion_tokens": 2}),
        )
        + b"data: [DONE]\n\n",
        tokens=Tokens(input=9, output=2),
        counted_after=b"[DONE]\n\n",
    ),
    Answer(
        id="chat, from a vendor that leaves thinking out of its count",
        wire="chat",
        text=data(
            chunk([], {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}),
        ),
        tokens=Tokens(input=10, output=105),
    ),
    Answer(
        id="chat, with a cache that is written to",
        wire="chat",
        text=data(
            chunk(
                [],
                {
                    "prompt_tokens": 50,
                    "completion_tokens": 5,
                    "total_tokens": 55,
                    "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 30},
                },
            ),
        ),
        tokens=Tokens(input=50, output=5, cache_read=10, cache_write=30),
    ),
    Answer(
        id="chat, in one piece",
        wire="chat",
        content_type=PIECE,
        text=json.dumps(
            {"choices": delta("Hello", "stop"), "usage": CHAT_USAGE}, indent=2
        ).encode(),
        tokens=CHAT_TOKENS,
    ),
    Answer(
        id="chat, that tells nothing",
        wire="chat",
        text=data(chunk(delta("Hello", "stop"))) + b"data: [DONE]\n\n",
        tokens=None,
    ),
    Answer(
        id="chat, that tells nonsense",
        wire="chat",
        text=data(
            chunk([], "many"),
            chunk([], {"prompt_tokens": -4, "completion_tokens": 10**30, "total_tokens": True}),
        )
        + b'data: {"usage": {\n\ndata: ["usage"]\n\n',
        tokens=Tokens(input=0, output=0),
    ),
    Answer(
        id="responses, streamed",
        wire="responses",
        text=named(
            {"type": "response.created", "response": response("in_progress", None)},
            {"type": "response.output_text.delta", "delta": '{"usage": {"input_tokens": 9}}'},
            {"type": "response.completed", "response": response("completed", RESPONSE_USAGE)},
        ),
        tokens=RESPONSE_TOKENS,
    ),
    Answer(
        id="responses, cut at its limit",
        wire="responses",
        text=named(
            {"type": "response.incomplete", "response": response("incomplete", RESPONSE_USAGE)},
        ),
        tokens=RESPONSE_TOKENS,
    ),
    Answer(
        id="responses, in one piece",
        wire="responses",
        content_type=PIECE,
        text=json.dumps(response("completed", RESPONSE_USAGE)).encode(),
        tokens=RESPONSE_TOKENS,
    ),
    Answer(
        id="google, streamed",
        wire="google",
        text=data(
            gemini("Hel", {"promptTokenCount": 100, "candidatesTokenCount": 3}),
            gemini("lo", GEMINI_USAGE, "STOP"),
            end="\r\n\r\n",
        ),
        tokens=GEMINI_TOKENS,
    ),
    Answer(
        id="google, in one piece",
        wire="google",
        content_type=PIECE,
        text=json.dumps(gemini("Hello", GEMINI_USAGE, "STOP"), indent=1).encode(),
        tokens=GEMINI_TOKENS,
    ),
    Answer(
        id="google, blocked",
        wire="google",
        text=data(
            {
                "promptFeedback": {"blockReason": "SAFETY"},
                "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8},
            },
            end="\r\n\r\n",
        ),
        tokens=Tokens(input=8, output=0),
    ),
    Answer(
        id="anthropic, streamed",
        wire="anthropic",
        text=named(
            MESSAGE_START,
            {"type": "ping"},
            words('"usage"'),
            {"type": "content_block_stop", "index": 0},
            MESSAGE_DELTA,
            {"type": "message_stop"},
        ),
        tokens=MESSAGE_TOKENS,
        counted_after=b'"output_tokens": 15}}\n\n',
    ),
    Answer(
        id="anthropic, with all told again at the end",
        wire="anthropic",
        text=named(
            MESSAGE_START,
            {
                **MESSAGE_DELTA,
                "usage": {
                    "input_tokens": 26,
                    "cache_creation_input_tokens": None,
                    "cache_read_input_tokens": 2001,
                    "output_tokens": 16,
                },
            },
        ),
        tokens=Tokens(input=2327, output=16, cache_read=2001, cache_write=300),
    ),
    Answer(
        id="anthropic, in one piece",
        wire="anthropic",
        content_type=PIECE,
        text=json.dumps(
            {"type": "message", "usage": {"input_tokens": 12, "output_tokens": 6}}
        ).encode(),
        tokens=Tokens(input=12, output=6),
    ),
]
