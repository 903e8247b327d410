"""OpenAI itself, by its responses."""

from salver_server.providers import ProviderSpec

PROVIDER = ProviderSpec(
    name="openai",
    title="OpenAI",
    wire="responses",
    base_url="https://api.openai.com/v1",
    suggested="gpt-5-mini",
    keys_at="https://platform.openai.com/api-keys",
)
