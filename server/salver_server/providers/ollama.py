"""Models on a computer of one's own, by Ollama."""

from salver_server.providers import ProviderSpec

PROVIDER = ProviderSpec(
    name="ollama",
    title="Ollama",
    wire="chat",
    base_url="http://127.0.0.1:11434/v1",
    key="no",
)
