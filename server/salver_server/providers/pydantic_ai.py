"""Any model behind OpenAI's chat completions: OpenAI itself, OpenRouter, Ollama, LM Studio and many more."""

from salver_server.providers import Access, Endpoint, ProviderSpec


def openai_compatible(access: Access) -> Endpoint:
    return Endpoint(
        url=access.openai_base_url,
        key=access.openai_api_key,
        plain=access.openai_plain_http,
    )


PROVIDER = ProviderSpec(
    name="pydantic-ai",
    title="OpenAI-compatible",
    pack="pydantic-ai",
    needs_model=True,
    endpoint=openai_compatible,
)
