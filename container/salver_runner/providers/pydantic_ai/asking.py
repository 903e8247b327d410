"""Putting one turn's requests to its models, until one answers or none can.

While the gateway is away (the server restarts) a request is waited with; one that a vendor cannot
serve now is repeated, one that it will not serve goes to the next model. What was said of a broken
answer is taken back before.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx2
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import ModelAPIError, ModelConnectionError, UnexpectedModelBehavior
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import Model, ModelRequestParameters

from salver_runner.clock import elapsed
from salver_runner.launch import Choice
from salver_runner.providers.pydantic_ai import pictures, trouble
from salver_runner.providers.pydantic_ai.history import for_vendor
from salver_runner.providers.pydantic_ai.trouble import Verdict
from salver_runner.providers.pydantic_ai.wires import Door, open_model
from salver_runner.turn import Turn

LOOK = 0.1
"""Seconds between two looks for a gateway that is away."""
MOST_REPEATS = 9
"""Requests of one turn that may be repeated: trouble that lasts must not become a storm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for what, in seconds."""

    silence: float = 300.0
    """That a model may say nothing at all."""
    away: float = 60.0
    """That nobody may serve the gateway."""
    pauses: tuple[float, ...] = (1.0, 3.0, 8.0)
    """Before each repetition of a request that a vendor could not serve."""
    rest: float = 60.0
    """That a choice is left alone after another one had to answer in its place."""


class Unanswered(Exception):
    """No model answers; the verdict has the sentence for the person."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.sentence)
        self.verdict = verdict


class Overflow(Unanswered):
    """The request no longer fits into the model's context."""


class Asking:
    def __init__(
        self,
        turn: Turn,
        choices: Sequence[Choice],
        door: Door,
        patience: Patience,
        *,
        spread: Callable[[], float],
    ) -> None:
        self._turn = turn
        self._left = list(choices)
        self._door = door
        self._patience = patience
        self._spread = spread
        self._models: dict[Choice, Model] = {}
        self._repeats = 0
        self._gone: list[Unanswered] = []
        """Why each choice before this one does not answer any more."""
        self._untold: list[str] = []
        """What of it the person has not been told."""
        self._said = 0
        self._fresh = True
        self._silent = False

    @property
    def choice(self) -> Choice:
        """Whose turn it is to answer."""
        return self._left[0]

    @property
    def said(self) -> str:
        """What has been said of the answer that is being given, or was broken off."""
        return "".join(self._turn.said[self._said :])

    async def answer(
        self, messages: list[ModelMessage], parameters: ModelRequestParameters
    ) -> ModelResponse:
        """The answer, said as it comes; raises `Unanswered`."""
        self._said = len(self._turn.said)
        pauses = iter(self._patience.pauses)
        while True:
            verdict = await self._ask(messages, parameters)
            if isinstance(verdict, ModelResponse):
                return verdict
            pause = self._pause(verdict, next(pauses, None))
            if pause is not None:
                self._repeats += 1
                self._take_back()
                await asyncio.sleep(pause)
            elif trouble.passes_on(verdict) and len(self._left) > 1:
                self._pass_on(verdict)
                pauses = iter(self._patience.pauses)
            else:
                raise self._given_up(verdict)

    async def silently(
        self, messages: list[ModelMessage], parameters: ModelRequestParameters
    ) -> ModelResponse:
        """The same for an answer that is no part of the reply."""
        self._silent = True
        try:
            return await self.answer(messages, parameters)
        finally:
            self._silent = False

    async def _ask(
        self, messages: list[ModelMessage], parameters: ModelRequestParameters
    ) -> ModelResponse | Verdict:
        try:
            response = await self._wait_and_stream(messages, parameters)
        except (ModelAPIError, UnexpectedModelBehavior) as exc:
            return trouble.of_error(exc, self.choice)
        return trouble.of_response(response, self.choice) or response

    def _pause(self, verdict: Verdict, ours: float | None) -> float | None:
        if ours is None or self._repeats >= MOST_REPEATS:
            return None
        return trouble.pause(verdict, ours * (0.5 + self._spread() / 2))

    def _take_back(self) -> None:
        if len(self._turn.said) > self._said:
            self._turn.unsay(self._said)
        self._fresh = True

    def _pass_on(self, verdict: Verdict) -> None:
        self._take_back()
        self._gone.append(Unanswered(verdict))
        self._untold.append(trouble.reason(verdict, self._left.pop(0)))

    def _given_up(self, verdict: Verdict) -> Unanswered:
        kind = Overflow if verdict.trouble == "context_full" else Unanswered
        return kind(trouble.together([*(one.verdict for one in self._gone), verdict]))

    async def _wait_and_stream(
        self, messages: list[ModelMessage], parameters: ModelRequestParameters
    ) -> ModelResponse:
        away_since: float | None = None
        while True:
            try:
                return await self._stream(messages, parameters)
            except ModelConnectionError as exc:
                # The only connection of ours is the one to the gateway.
                if exc.phase != "connect":
                    raise
                away_since = away_since or elapsed()
                if elapsed() - away_since > self._patience.away:
                    raise
                await asyncio.sleep(LOOK)

    async def _stream(
        self, messages: list[ModelMessage], parameters: ModelRequestParameters
    ) -> ModelResponse:
        self._turn.line.quiet(self._turn.number, self._patience.silence)
        model = await self._model()
        own = for_vendor(messages, self.choice.provider)
        seen = await asyncio.to_thread(
            pictures.shown, own, sees=self.choice.sees, files=self._turn.files
        )
        try:
            async with model_request_stream(
                model, seen, model_request_parameters=parameters
            ) as stream:
                async for event in stream:
                    match event:
                        case PartStartEvent(part=TextPart(content=text)):
                            self._fresh = True
                            self._say(text)
                        case PartStartEvent():
                            self._introduce()
                        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                            self._say(text)
                        case _:
                            pass
                return stream.get()
        except httpx2.TransportError as exc:
            # Met while the end of an answer is read; the library maps the others itself.
            raise ModelConnectionError(model.model_name, str(exc), phase="read") from exc

    async def _model(self) -> Model:
        """The model that is asked now; what it needs is imported aside, a stop must be heard meanwhile."""
        if self.choice not in self._models:
            self._models[self.choice] = await asyncio.to_thread(open_model, self.choice, self._door)
        return self._models[self.choice]

    def _introduce(self) -> None:
        """Say who answers and why, before a model that was not the first choice says anything."""
        if self._untold and not self._silent:
            self._turn.aside(trouble.introduction(self._untold, self.choice))
            self._untold = []
            self._said = len(self._turn.said)
            self._fresh = True

    def _say(self, text: str) -> None:
        """Speak; a blank line sets one piece of writing apart from the one before."""
        if not text or self._silent:
            return
        self._introduce()
        self._turn.say(self._turn.gap() + text if self._fresh else text)
        self._fresh = False
