"""Salver's own gateway, whose words are shown as they are."""

from tests.runner.providers.said import Json, error
from tests.runner.providers.said.openai import openai


def gateway(code: str, message: str) -> Json:
    return openai(message, "api_error", code)


GATEWAY = [
    error(
        "keychain",
        "openai",
        "responses",
        503,
        gateway("key_unavailable", "The keychain is locked. Unlock it."),
        "key_refused",
        "The keychain is locked. Unlock it. Then send your message again.",
        x_salver_code="key_unavailable",
    ),
    error(
        "no-key",
        "anthropic",
        "anthropic",
        401,
        gateway(
            "key_missing",
            "No key is set for Anthropic. Set one with `salver provider set anthropic`.",
        ),
        "key_refused",
        "No key is set for Anthropic.",
        x_salver_code="key_missing",
    ),
    error(
        "budget",
        "openai",
        "chat",
        402,
        gateway("over_budget", "Ada's budget of 5 USD for today is used up."),
        "gateway",
        "Ada's budget of 5 USD for today is used up.",
        x_salver_code="over_budget",
    ),
    error(
        "price",
        "google",
        "google",
        402,
        gateway("price_unknown", "Nobody knows what m-1 costs."),
        "gateway",
        "Nobody knows what m-1 costs.",
        x_salver_code="price_unknown",
    ),
    error(
        "unreachable",
        "ollama",
        "chat",
        502,
        gateway(
            "upstream_unreachable",
            "Salver cannot reach the model provider at 127.0.0.1:11434: connection refused. Start Ollama.",
        ),
        "network",
        "connection refused. Start Ollama.",
        x_salver_code="upstream_unreachable",
    ),
    error(
        "too-large",
        "openai",
        "chat",
        413,
        gateway("request_too_large", "The request is larger than 32 MiB."),
        "context_full",
        "larger than 32 MiB",
        x_salver_code="request_too_large",
    ),
]
