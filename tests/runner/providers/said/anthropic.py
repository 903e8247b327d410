"""Anthropic."""

from tests.runner.providers.said import Json, broken, error


def anthropic(kind: str, message: str) -> Json:
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
    }


BILLED = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to"
    " upgrade or purchase credits."
)


STARTED: Json = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-1",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    },
}


ANTHROPIC = [
    error(
        "key",
        "anthropic",
        "anthropic",
        401,
        anthropic("authentication_error", "invalid x-api-key"),
        "key_refused",
        "Anthropic refused the key",
    ),
    error(
        "permission",
        "anthropic",
        "anthropic",
        403,
        anthropic(
            "permission_error",
            "Your API key does not have permission to use the specified resource.",
        ),
        "key_refused",
        "Anthropic refused the key",
    ),
    error(
        "billing",
        "anthropic",
        "anthropic",
        400,
        anthropic("invalid_request_error", BILLED),
        "quota",
        "account at Anthropic has no credit left",
    ),
    error(
        "billing-402",
        "anthropic",
        "anthropic",
        402,
        anthropic("billing_error", "There is an issue with your billing."),
        "quota",
        "no credit left",
    ),
    error(
        "model",
        "anthropic",
        "anthropic",
        404,
        anthropic("not_found_error", "model: m-1"),
        "unknown_model",
        "Anthropic does not know the model 'm-1'",
    ),
    error(
        "rate",
        "anthropic",
        "anthropic",
        429,
        anthropic(
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 50,000 input tokens per minute.",
        ),
        "rate_limit",
        "Anthropic wants fewer requests for now. Send your message again in 12 s",
        retry_after="12",
    ),
    error(
        "overload",
        "anthropic",
        "anthropic",
        529,
        anthropic("overloaded_error", "Overloaded"),
        "overload",
        "Anthropic has trouble of its own (Overloaded)",
    ),
    error(
        "server",
        "anthropic",
        "anthropic",
        500,
        anthropic("api_error", "Internal server error"),
        "overload",
        "Anthropic has trouble",
    ),
    error(
        "too-large",
        "anthropic",
        "anthropic",
        413,
        anthropic("request_too_large", "Request exceeds the maximum size"),
        "context_full",
        "conversation is too long",
    ),
    error(
        "context",
        "anthropic",
        "anthropic",
        400,
        anthropic("invalid_request_error", "prompt is too long: 1036683 tokens > 1000000 maximum"),
        "context_full",
        "conversation is too long",
    ),
    error(
        "context-and-answer",
        "anthropic",
        "anthropic",
        400,
        anthropic(
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 199000 + 16000 > 200000, decrease input length or `max_tokens` and try again",
        ),
        "context_full",
        "conversation is too long",
    ),
    error(
        "invalid",
        "anthropic",
        "anthropic",
        400,
        anthropic(
            "invalid_request_error",
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1.",
        ),
        "rejected",
        "It said: messages.1",
    ),
    broken(
        "mid-stream",
        "anthropic",
        "anthropic",
        [STARTED, anthropic("overloaded_error", "Overloaded")],
        "overload",
        "Anthropic has trouble of its own (Overloaded)",
    ),
    broken(
        "refusal",
        "anthropic",
        "anthropic",
        [
            STARTED,
            {
                "type": "message_delta",
                "delta": {"stop_reason": "refusal", "stop_sequence": None},
                "usage": {"output_tokens": 4},
            },
            {"type": "message_stop"},
        ],
        "refused",
        "Anthropic's filter stopped the answer",
    ),
    broken(
        "cut", "anthropic", "anthropic", [STARTED], "network", "connection to Anthropic broke off"
    ),
]
