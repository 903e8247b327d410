"""Whatever else speaks OpenAI's chat completions: LM Studio, vLLM, llama.cpp and many more."""

from salver_server.providers import ProviderSpec

PROVIDER = ProviderSpec(name="openai-compatible", title="OpenAI-compatible", wire="chat", key="may")
