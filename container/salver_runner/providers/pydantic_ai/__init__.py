"""Turns with any model that speaks OpenAI's chat completions, by way of the pydantic-ai library.

The library translates; the loop is ours, so that it is exact what each request holds. Every request
goes through the gateway on its unix socket. While that is away (the server restarts) a request is
waited with and repeated; what was said of a broken answer is taken back before.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
from openai import AsyncOpenAI
from pydantic import ValidationError
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelRateLimitError,
    ModelServerError,
    ModelTimeoutError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.tools import ToolDefinition

from salver_runner.clock import elapsed
from salver_runner.prompt import instructions, prompt
from salver_runner.providers.pydantic_ai import trouble
from salver_runner.tools import Result, ToolSpec
from salver_runner.turn import Failed, JsonObject, Turn
from salver_runner.workspace import memory

logger = logging.getLogger(__name__)

BASE_URL = "http://gateway/openai/v1"
LOOK = 0.1
"""Seconds between two looks for a gateway that is away."""
MOST_CUTS = 5
"""Answers to one request that may break off before the turn fails."""

SUM_UP = (
    "The limit of this turn is reached, and no more tools can be used in it. Say in a few sentences"
    " what was done and what is left."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for what, in seconds."""

    silence: float = 300.0
    """That a model may say nothing at all."""
    away: float = 60.0
    """That nobody may serve the gateway."""
    pauses: tuple[float, ...] = (1.0, 3.0, 8.0)
    """Before each repetition of a request that the model provider could not serve."""


class PydanticAI:
    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    async def turn(self, turn: Turn) -> None:
        if not turn.launch.model:
            raise Failed(
                "No model is chosen for this agent. Set `model` in its AGENT.md, such as gpt-5-mini."
            )
        async with _open_model(turn, silence=self._patience.silence) as model:
            await Talk(turn, model, self._patience).run()


class Talk:
    """The requests of one turn and what came of them."""

    def __init__(self, turn: Turn, model: OpenAIChatModel, patience: Patience) -> None:
        self._turn = turn
        self._model = model
        self._patience = patience
        self._messages = _read(turn.history)
        self._notes = ""
        self._fresh = True

    async def run(self) -> None:
        turn = self._turn
        # Once: what the agent notes during the turn, it knows from the call.
        self._notes = await asyncio.to_thread(memory.notes)
        notice, going_on = turn.note, False
        while True:
            last = turn.last_round and turn.rounds > 0
            # What comes in at the limit opens the next turn, which has a limit of its own.
            taken = [] if last else turn.take()
            if not taken and not going_on:
                return
            text = prompt(taken, notice=SUM_UP if last else notice)
            notice = ""
            going_on = await self._round(text, {} if last else turn.tools)
            if last:
                return

    async def _round(self, text: str, tools: Mapping[str, ToolSpec]) -> bool:
        """One request and all that it leads to, kept as a whole; true if tools were used."""
        turn = self._turn
        turn.rounds += 1
        said = len(turn.said)
        asked = [ModelRequest(parts=[UserPromptPart(text)])] if text else []
        try:
            response = await self._answer([*self._messages, *asked], tools)
        except asyncio.CancelledError:
            self._keep(*asked, *_partial(turn.said[said:]))
            raise
        except (ModelAPIError, UnexpectedModelBehavior) as exc:
            if trouble.is_poison(exc):
                # Something of this turn is what the provider does not take; no later one may hold it.
                turn.kept.clear()
            else:
                self._keep(*asked, *_partial(turn.said[said:]))
            raise Failed(trouble.sentence(exc, turn.launch.model)) from exc
        calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
        if not tools:
            response.parts = [part for part in response.parts if part not in calls]
            calls = []
        if response.finish_reason == "content_filter":
            turn.kept.clear()
            raise Failed(trouble.refusal(response))
        await self._use(calls, asked, response)
        return bool(calls)

    async def _use(
        self, calls: list[ToolCallPart], asked: list[ModelRequest], response: ModelResponse
    ) -> None:
        """Run the calls one after the other and keep the round, also when it is stopped."""
        returns: list[ToolReturnPart] = []
        try:
            for call in calls:
                result = await self._call(call)
                returns.append(_return(call, result))
        finally:
            # A call without its result would make every later request invalid.
            returns += [_return(call, STOPPED) for call in calls[len(returns) :]]
            self._keep(*asked, response, *([ModelRequest(parts=returns)] if returns else []))

    async def _call(self, call: ToolCallPart) -> Result:
        try:
            arguments = call.args_as_dict(raise_if_invalid=True)
        except (ValueError, AssertionError) as exc:
            return Result(
                text=f"Nothing was done: the arguments are not a JSON object ({exc}). Call it again.",
                failed=True,
            )
        return await self._turn.use(call.tool_name, arguments)

    def _keep(self, *messages: ModelMessage) -> None:
        self._messages += messages
        self._turn.kept += ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")

    async def _answer(
        self, messages: list[ModelMessage], tools: Mapping[str, ToolSpec]
    ) -> ModelResponse:
        """The model's answer, said as it comes; repeats the request where that is safe."""
        turn, pauses = self._turn, iter(self._patience.pauses)
        said, cuts, away_since = len(turn.said), 0, None
        while True:
            try:
                return await self._stream(messages, tools)
            except ModelConnectionError as exc:
                if isinstance(exc, ModelTimeoutError) and exc.phase == "read":
                    raise
                turn.unsay(said)
                if exc.phase != "connect":
                    cuts, away_since = cuts + 1, None
                elif away_since is None:
                    away_since = elapsed()
                if cuts > MOST_CUTS or self._too_long(away_since):
                    raise
                await asyncio.sleep(LOOK)
            except (ModelRateLimitError, ModelUnavailableError, ModelServerError) as exc:
                ours = next(pauses, None)
                pause = None if ours is None else trouble.pause(exc, ours)
                if pause is None or len(turn.said) > said:
                    raise
                await asyncio.sleep(pause)

    def _too_long(self, away_since: float | None) -> bool:
        return away_since is not None and elapsed() - away_since > self._patience.away

    async def _stream(
        self, messages: list[ModelMessage], tools: Mapping[str, ToolSpec]
    ) -> ModelResponse:
        turn = self._turn
        turn.line.quiet(turn.number, self._patience.silence)
        form = instructions(turn.launch.instructions, self._notes)
        parameters = ModelRequestParameters(
            function_tools=[_definition(tool) for tool in tools.values()],
            instruction_parts=[InstructionPart(content=form)],
        )
        try:
            async with model_request_stream(
                self._model, messages, model_request_parameters=parameters
            ) as stream:
                async for event in stream:
                    match event:
                        case PartStartEvent(part=TextPart(content=text)):
                            self._fresh = True
                            self._say(text)
                        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                            self._say(text)
                        case _:
                            pass
                return stream.get()
        except httpx2.TransportError as exc:
            # Met while the end of an answer is read; the library maps the others itself.
            raise ModelConnectionError(self._model.model_name, str(exc), phase="read") from exc

    def _say(self, text: str) -> None:
        """Speak; a blank line sets one piece of writing apart from the one before."""
        if not text:
            return
        if self._fresh and self._turn.said:
            tail = "".join(self._turn.said)[-2:]
            text = "\n\n"[len(tail) - len(tail.rstrip("\n")) :] + text
        self._fresh = False
        self._turn.say(text)


STOPPED = Result(text="The turn was stopped before this call was done.", failed=True)


@asynccontextmanager
async def _open_model(turn: Turn, *, silence: float) -> AsyncGenerator[OpenAIChatModel]:
    # A bare context: nothing is encrypted on a unix socket, and reading certificates takes 20 ms.
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = httpx2.AsyncHTTPTransport(uds=str(turn.gateway), verify=bare)
    timeout = httpx2.Timeout(connect=5, write=60, read=silence, pool=5)
    async with httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as http:
        client = AsyncOpenAI(
            base_url=BASE_URL, api_key=turn.launch.token, http_client=http, max_retries=0
        )
        provider = OpenAICompatibleProvider("salver", openai_client=client)
        yield OpenAIChatModel(turn.launch.model, provider=provider)


def _read(history: list[JsonObject]) -> list[ModelMessage]:
    try:
        return ModelMessagesTypeAdapter.validate_python(history)
    except ValidationError:
        logger.exception("the conversation so far cannot be read; going on without it")
        return []


def _definition(tool: ToolSpec) -> ToolDefinition:
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=dict(tool.parameters),
        strict=False,
    )


def _return(call: ToolCallPart, result: Result) -> ToolReturnPart:
    # Not marked as failed: the text says it, and the mark would wrap a log in a JSON string.
    return ToolReturnPart(
        tool_name=call.tool_name, content=result.text, tool_call_id=call.tool_call_id
    )


def _partial(said: list[str]) -> list[ModelResponse]:
    """What was said of an answer that was cut off, so that the model knows it."""
    text = "".join(said).strip()
    return [ModelResponse(parts=[TextPart(text)])] if text else []


PROVIDER = PydanticAI(Patience())
