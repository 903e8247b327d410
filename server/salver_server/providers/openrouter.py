"""OpenRouter, which passes calls on to many vendors."""

from salver_server.providers import ProviderSpec

PROVIDER = ProviderSpec(
    name="openrouter",
    title="OpenRouter",
    wire="chat",
    base_url="https://openrouter.ai/api/v1",
    keys_at="https://openrouter.ai/settings/keys",
)
