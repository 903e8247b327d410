"""OpenRouter, which often only hands on what others said."""

from typing import Any

from tests.runner.providers.said import Json, broken, error


def openrouter(code: int, message: str, **metadata: Any) -> Json:
    error: Json = {"message": message, "code": code}
    return {"error": {**error, "metadata": metadata} if metadata else error, "user_id": "user_1"}


OPENROUTER = [
    error(
        "key",
        "openrouter",
        "chat",
        401,
        openrouter(401, "No auth credentials found"),
        "key_refused",
        "OpenRouter refused the key",
    ),
    error(
        "credits",
        "openrouter",
        "chat",
        402,
        openrouter(
            402,
            "This request requires more credits, or fewer max_tokens. You requested up to 8192 tokens, but can only afford 1775.",
        ),
        "quota",
        "account at OpenRouter has no credit left",
    ),
    error(
        "moderation",
        "openrouter",
        "chat",
        403,
        openrouter(
            403,
            "Input was flagged",
            reasons=["violence"],
            flagged_input="how to …",
            provider_name="OpenAI",
            model_slug="openai/m-1",
        ),
        "refused",
        "OpenRouter refused to answer this",
    ),
    error(
        "rate",
        "openrouter",
        "chat",
        429,
        openrouter(
            429,
            "Provider returned error",
            raw="m-1 is temporarily rate-limited upstream. Please retry shortly.",
            provider_name="Chutes",
        ),
        "rate_limit",
        "OpenRouter wants fewer requests",
    ),
    error(
        "free-a-day",
        "openrouter",
        "chat",
        429,
        openrouter(
            429,
            "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
            headers={"X-RateLimit-Limit": "50"},
        ),
        "quota",
        "no credit left or has reached its limit",
    ),
    error(
        "raw-json",
        "openrouter",
        "chat",
        400,
        openrouter(
            400,
            "Provider returned error",
            raw='{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}',
            provider_name="Anthropic",
        ),
        "context_full",
        "conversation is too long",
    ),
    error(
        "raw-json-rejected",
        "openrouter",
        "chat",
        400,
        openrouter(
            400,
            "Provider returned error",
            raw='{"error":{"message":"Tool names must be short."}}',
            provider_name="X",
        ),
        "rejected",
        "It said: Tool names must be short.",
    ),
    error(
        "context",
        "openrouter",
        "chat",
        400,
        openrouter(
            400,
            "This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens.",
        ),
        "context_full",
        "conversation is too long",
    ),
    error(
        "model",
        "openrouter",
        "chat",
        400,
        openrouter(400, "m-1 is not a valid model ID"),
        "unknown_model",
        "OpenRouter does not know the model 'm-1'",
    ),
    error(
        "no-endpoint",
        "openrouter",
        "chat",
        404,
        openrouter(404, "No endpoints found for m-1."),
        "unknown_model",
        "does not know the model",
    ),
    error(
        "down",
        "openrouter",
        "chat",
        502,
        openrouter(502, "Provider returned error", raw="upstream connect error", provider_name="X"),
        "overload",
        "OpenRouter has trouble of its own (upstream connect error)",
    ),
    error(
        "timeout",
        "openrouter",
        "chat",
        408,
        openrouter(408, "Request timed out"),
        "overload",
        "OpenRouter has trouble",
    ),
    broken(
        "mid-stream",
        "openrouter",
        "chat",
        [
            {
                "id": "gen-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m-1",
                "provider": "X",
                "error": {"code": "server_error", "message": "Provider disconnected unexpectedly"},
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            }
        ],
        "overload",
        "Provider disconnected unexpectedly",
    ),
    broken(
        "mid-stream-number",
        "openrouter",
        "chat",
        [
            {
                "id": "gen-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m-1",
                "error": {"code": 429, "message": "Rate limit exceeded"},
                "choices": [],
            }
        ],
        "rate_limit",
        "wants fewer requests",
    ),
]
