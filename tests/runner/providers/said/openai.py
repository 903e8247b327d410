"""OpenAI, by chat completions and by responses."""

from tests.runner.providers.said import Json, broken, error


def openai(message: str, kind: str | None, code: str | None) -> Json:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


QUOTA = "You exceeded your current quota, please check your plan and billing details."
TOO_LONG = (
    "This model's maximum context length is 128000 tokens. However, your messages resulted in 140000"
    " tokens. Please reduce the length of the messages."
)

OPENAI_CHAT = [
    error(
        "key",
        "openai",
        "chat",
        401,
        openai("Incorrect API key provided: sk-x.", "invalid_request_error", "invalid_api_key"),
        "key_refused",
        "OpenAI refused the key. Set a valid one with `salver provider set openai`",
    ),
    error(
        "quota",
        "openai",
        "chat",
        429,
        openai(QUOTA, "insufficient_quota", "insufficient_quota"),
        "quota",
        "account at OpenAI has no credit left",
    ),
    error(
        "rate",
        "openai",
        "chat",
        429,
        openai(
            "Rate limit reached for m-1 in organization org-1 on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.",
            "requests",
            "rate_limit_exceeded",
        ),
        "rate_limit",
        "OpenAI wants fewer requests for now. Send your message again in 20 s",
        retry_after="20",
    ),
    error(
        "rate-for-long",
        "openai",
        "chat",
        429,
        openai("Rate limit reached for m-1.", "tokens", "rate_limit_exceeded"),
        "rate_limit",
        "again in 600 s",
        retry_after="600",
    ),
    error(
        "too-large-for-the-rate",
        "openai",
        "chat",
        429,
        openai(
            "Request too large for m-1 in organization org-1 on tokens per min (TPM): Limit 30000, Requested 40000. The input or output tokens must be reduced in order to run successfully.",
            "tokens",
            "rate_limit_exceeded",
        ),
        "context_full",
        "conversation is too long",
    ),
    error(
        "overload",
        "openai",
        "chat",
        503,
        openai("The engine is currently overloaded, please try again later", "server_error", None),
        "overload",
        "OpenAI has trouble of its own (The engine is currently overloaded, please try again later)",
    ),
    error(
        "slow-down",
        "openai",
        "chat",
        503,
        openai("Slow Down", "server_error", "slow_down"),
        "overload",
        "OpenAI has trouble",
    ),
    error(
        "server",
        "openai",
        "chat",
        500,
        openai(
            "The server had an error while processing your request. Sorry about that!",
            "server_error",
            None,
        ),
        "overload",
        "OpenAI has trouble",
    ),
    error(
        "html",
        "openai",
        "chat",
        502,
        "<html><body>502 Bad Gateway</body></html>",
        "overload",
        "OpenAI has trouble of its own",
    ),
    error(
        "context",
        "openai",
        "chat",
        400,
        openai(TOO_LONG, "invalid_request_error", "context_length_exceeded"),
        "context_full",
        "conversation is too long for the model 'm-1'",
    ),
    error(
        "model",
        "openai",
        "chat",
        404,
        openai(
            "The model `m-1` does not exist or you do not have access to it.",
            "invalid_request_error",
            "model_not_found",
        ),
        "unknown_model",
        "OpenAI does not know the model 'm-1'",
    ),
    error(
        "policy",
        "openai",
        "chat",
        400,
        openai(
            "Your request was rejected as a result of our safety system.",
            "invalid_request_error",
            "content_policy_violation",
        ),
        "refused",
        "OpenAI refused to answer this",
    ),
    error(
        "invalid",
        "openai",
        "chat",
        400,
        openai(
            "Invalid schema for function 'shell'.",
            "invalid_request_error",
            "invalid_function_parameters",
        ),
        "rejected",
        "It said: Invalid schema for function 'shell'.",
    ),
    broken(
        "server",
        "openai",
        "chat",
        [openai("The server had an error processing your request.", "server_error", None)],
        "overload",
        "OpenAI has trouble",
    ),
]

OPENAI_RESPONSES = [
    error(
        "key",
        "openai",
        "responses",
        401,
        openai("Incorrect API key provided: sk-x.", "invalid_request_error", "invalid_api_key"),
        "key_refused",
        "OpenAI refused the key",
    ),
    error(
        "quota",
        "openai",
        "responses",
        429,
        openai(QUOTA, "insufficient_quota", "insufficient_quota"),
        "quota",
        "no credit left",
    ),
    error(
        "model",
        "openai",
        "responses",
        400,
        openai(
            "The requested model 'm-1' does not exist.", "invalid_request_error", "model_not_found"
        ),
        "unknown_model",
        "does not know the model",
    ),
    error(
        "flagged",
        "openai",
        "responses",
        400,
        openai(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            "invalid_request_error",
            "invalid_prompt",
        ),
        "refused",
        "refused to answer",
    ),
    broken(
        "failed-server",
        "openai",
        "responses",
        [
            {
                "type": "response.failed",
                "sequence_number": 1,
                "response": {
                    "id": "resp_1",
                    "object": "response",
                    "created_at": 1,
                    "model": "m-1",
                    "output": [],
                    "status": "failed",
                    "error": {
                        "code": "server_error",
                        "message": "The model failed to generate a response.",
                    },
                    "tools": [],
                    "tool_choice": "auto",
                    "parallel_tool_calls": True,
                },
            }
        ],
        "overload",
        "OpenAI has trouble of its own (The model failed to generate a response)",
    ),
    broken(
        "failed-rate",
        "openai",
        "responses",
        [
            {
                "type": "response.failed",
                "sequence_number": 1,
                "response": {
                    "id": "resp_1",
                    "object": "response",
                    "created_at": 1,
                    "model": "m-1",
                    "output": [],
                    "status": "failed",
                    "error": {
                        "code": "rate_limit_exceeded",
                        "message": "Rate limit reached for m-1.",
                    },
                    "tools": [],
                    "tool_choice": "auto",
                    "parallel_tool_calls": True,
                },
            }
        ],
        "rate_limit",
        "wants fewer requests",
    ),
    broken(
        "error-event",
        "openai",
        "responses",
        [
            {
                "type": "error",
                "sequence_number": 1,
                "code": "context_length_exceeded",
                "message": "Your input exceeds the context window of this model. Please adjust your input and try again.",
                "param": "input",
            }
        ],
        "context_full",
        "conversation is too long",
    ),
    broken(
        "error-event-nested",
        "openai",
        "responses",
        [
            {
                "type": "error",
                "sequence_number": 1,
                "error": {
                    "type": "insufficient_quota",
                    "code": "insufficient_quota",
                    "message": QUOTA,
                    "param": None,
                },
            }
        ],
        "quota",
        "no credit left",
    ),
    broken(
        "error-event-overload",
        "openai",
        "responses",
        [
            {
                "type": "error",
                "sequence_number": 1,
                "error": {
                    "type": "service_unavailable_error",
                    "code": "server_is_overloaded",
                    "message": "Our servers are currently overloaded. Please try again later.",
                    "param": None,
                },
            }
        ],
        "overload",
        "trouble of its own",
    ),
    broken(
        "filtered",
        "openai",
        "responses",
        [
            {
                "type": "response.incomplete",
                "sequence_number": 1,
                "response": {
                    "id": "resp_1",
                    "object": "response",
                    "created_at": 1,
                    "model": "m-1",
                    "output": [],
                    "status": "incomplete",
                    "error": None,
                    "incomplete_details": {"reason": "content_filter"},
                    "tools": [],
                    "tool_choice": "auto",
                    "parallel_tool_calls": True,
                },
            }
        ],
        "refused",
        "OpenAI's filter stopped the answer",
    ),
]
