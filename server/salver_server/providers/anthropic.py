"""Anthropic's Claude, by its messages."""

from salver_server.providers import ProviderSpec

PROVIDER = ProviderSpec(
    name="anthropic",
    title="Anthropic",
    wire="anthropic",
    base_url="https://api.anthropic.com",
    suggested="claude-sonnet-4-5",
    keys_at="https://console.anthropic.com/settings/keys",
)
