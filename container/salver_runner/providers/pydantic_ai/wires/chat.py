"""OpenAI's chat completions, which many others speak too."""

from openai import AsyncOpenAI
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from salver_runner.launch import Choice
from salver_runner.providers.pydantic_ai.wires import Door


def open_model(choice: Choice, door: Door) -> Model:
    client = AsyncOpenAI(
        base_url=door.url(choice), api_key=door.token, http_client=door.http, max_retries=0
    )
    if choice.provider == "openrouter" and "/" in choice.model:
        # It hands on the sealed thoughts of the models behind it, which some of them want back.
        from pydantic_ai.models.openrouter import OpenRouterModel
        from pydantic_ai.providers.openrouter import OpenRouterProvider

        return OpenRouterModel(choice.model, provider=OpenRouterProvider(openai_client=client))
    provider = OpenAICompatibleProvider(choice.provider, openai_client=client)
    return OpenAIChatModel(choice.model, provider=provider)
