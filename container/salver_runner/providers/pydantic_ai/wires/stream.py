"""A wire of our own: one POST, answered by a stream of events, read as the library reads its own.

A vendor's SDK would cost every sandbox far more than this: see decision 0018.
"""

import json
from abc import abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Mapping,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import httpx2
from pydantic_ai import RunContext
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelHTTPError,
    ModelTimeoutError,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponseStreamEvent
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings

from salver_runner.clock import stamp
from salver_runner.launch import Choice
from salver_runner.providers.pydantic_ai.wires import Door

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What is a vendor's own in it."""

    path: str
    headers: Mapping[str, str]
    body: Callable[[list[ModelMessage], ModelRequestParameters], Json]
    answer: "type[Answer]"


@dataclass
class Answer(StreamedResponse):
    """An answer as it comes; a vendor's own says in `read` what its events mean."""

    choice: Choice
    events: AsyncGenerator[Json]
    began: datetime = field(default_factory=lambda: datetime.fromisoformat(stamp()))

    @abstractmethod
    def read(self, event: Json) -> Iterator[ModelResponseStreamEvent]: ...

    @abstractmethod
    def ended(self) -> bool:
        """Whether the vendor has said that the answer is whole."""
        ...

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        async with aclosing(self.events) as events:
            async for event in events:
                if "error" in event:
                    raise _complaint(self.choice, 200, event, {})
                for one in self.read(event):
                    yield one
        if not self.ended():
            raise ModelConnectionError(
                self.model_name, "the answer ends in the middle", phase="read"
            )

    async def close_stream(self) -> None:
        await self.events.aclose()

    @property
    def model_name(self) -> str:
        return self.choice.model

    @property
    def provider_name(self) -> str:
        return self.choice.provider

    @property
    def provider_url(self) -> None:
        return None

    @property
    def timestamp(self) -> datetime:
        return self.began


class WireModel(Model[None]):
    """A model that is spoken to in a format."""

    def __init__(self, choice: Choice, door: Door, form: Format) -> None:
        super().__init__()
        self._choice = choice
        self._door = door
        self._form = form

    @property
    def model_name(self) -> str:
        return self._choice.model

    @property
    def system(self) -> str:
        return self._choice.provider

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        async with self.request_stream(
            messages, model_settings, model_request_parameters
        ) as answer:
            async for _ in answer:
                pass
            return answer.get()

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,  # noqa: ARG002 - the library hands it in
    ) -> AsyncGenerator[StreamedResponse]:
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        request = self._door.http.build_request(
            "POST",
            self._door.url(self._choice) + self._form.path,
            headers={**self._form.headers, "accept": "text/event-stream"},
            json=self._form.body(messages, parameters),
        )
        with _named(self._choice):
            response = await self._door.http.send(request, stream=True)
        try:
            if response.status_code != 200:
                raise await _refusal(self._choice, response)
            events = _events(self._choice, response)
            yield self._form.answer(parameters, choice=self._choice, events=events)
        finally:
            await response.aclose()


async def _events(choice: Choice, response: httpx2.Response) -> AsyncGenerator[Json]:
    """What the lines with `data:` hold; a name that goes before is in the data, too."""
    with _named(choice):
        async for line in response.aiter_lines():
            if line.startswith("data:"):
                yield _object(choice, line.removeprefix("data:"))


def _object(choice: Choice, text: str) -> Json:
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise UnexpectedModelBehavior(f"{choice.model} sent what is no JSON") from exc
    if not isinstance(found, dict):
        raise UnexpectedModelBehavior(f"{choice.model} sent what is no JSON object")
    return cast("Json", found)


async def _refusal(choice: Choice, response: httpx2.Response) -> ModelAPIError:
    with _named(choice):
        body = await response.aread()
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    return _complaint(choice, response.status_code, said, dict(response.headers))


def _complaint(
    choice: Choice, status: int, body: object, headers: Mapping[str, str]
) -> ModelAPIError:
    if status == 200:
        return ModelAPIError(choice.model, "an error in the stream", body=body, in_stream=True)
    return ModelHTTPError(status, choice.model, body, headers=headers)


@contextmanager
def _named(choice: Choice) -> Generator[None]:
    """Transport errors under the names that the library gives them."""
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as exc:
        raise ModelConnectionError(choice.model, str(exc), phase="connect") from exc
    except httpx2.TimeoutException as exc:
        raise ModelTimeoutError(choice.model, str(exc), phase="read") from exc
    except httpx2.TransportError as exc:
        raise ModelConnectionError(choice.model, str(exc), phase="read") from exc
