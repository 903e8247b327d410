"""OpenAI's responses, with nothing kept there: each request holds the whole conversation.

What the model thought comes back sealed and is sent along again, so that it goes on thinking after a
tool call.
"""

from openai import AsyncOpenAI
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from salver_runner.launch import Choice
from salver_runner.providers.pydantic_ai.wires import Door

STATELESS = OpenAIResponsesModelSettings(openai_store=False)


def open_model(choice: Choice, door: Door) -> Model:
    client = AsyncOpenAI(
        base_url=door.url(choice), api_key=door.token, http_client=door.http, max_retries=0
    )
    provider = (
        OpenAIProvider(openai_client=client)
        if choice.provider == "openai"
        else OpenAICompatibleProvider(choice.provider, openai_client=client)
    )
    return OpenAIResponsesModel(choice.model, provider=provider, settings=STATELESS)
