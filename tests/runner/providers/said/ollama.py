"""Ollama, whose errors are of more than one shape."""

from tests.runner.providers.said import error
from tests.runner.providers.said.openai import openai

OLLAMA = [
    error(
        "model",
        "ollama",
        "chat",
        404,
        openai('model "m-1" not found, try pulling it first', "api_error", None),
        "unknown_model",
        "Ollama has no model 'm-1'. Fetch it with `ollama pull m-1`",
    ),
    error(
        "model-plain",
        "ollama",
        "chat",
        404,
        {"error": "model 'm-1' not found"},
        "unknown_model",
        "Ollama has no model 'm-1'",
    ),
    error(
        "model-in-few-words",
        "ollama",
        "chat",
        404,
        openai('model "m-1" not found', "api_error", None),
        "unknown_model",
        "Ollama has no model 'm-1'",
    ),
    error(
        "no-tools",
        "ollama",
        "chat",
        400,
        openai(
            "registry.ollama.ai/library/m-1 does not support tools", "invalid_request_error", None
        ),
        "rejected",
        "m-1 does not support tools",
    ),
    error(
        "memory",
        "ollama",
        "chat",
        500,
        openai(
            "model requires more system memory (8.3 GiB) than is available (5.1 GiB)",
            "api_error",
            None,
        ),
        "overload",
        "requires more system memory",
    ),
    error(
        "runner",
        "ollama",
        "chat",
        500,
        {"error": "llama runner process has terminated: exit status 2"},
        "overload",
        "llama runner process has terminated",
    ),
    error(
        "context",
        "ollama",
        "chat",
        400,
        openai(
            "the request exceeds the available context size (4096 tokens), try increasing it",
            "exceed_context_size_error",
            None,
        ),
        "context_full",
        "conversation is too long",
    ),
    error(
        "busy",
        "ollama",
        "chat",
        503,
        {"error": "server busy, please try again. maximum pending requests exceeded"},
        "overload",
        "server busy",
    ),
]
