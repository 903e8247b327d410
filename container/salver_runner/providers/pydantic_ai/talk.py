"""The rounds of one turn: what each request holds, and what is kept of it."""

import asyncio
from collections.abc import Mapping

from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from salver_runner.clock import now
from salver_runner.instructions import instructions
from salver_runner.prompt import prompt
from salver_runner.providers.pydantic_ai.asking import Asking, Overflow, Unanswered
from salver_runner.providers.pydantic_ai.history import read, written
from salver_runner.providers.pydantic_ai.pictures import content
from salver_runner.tools import Result, ToolSpec
from salver_runner.turn import Failed, Turn
from salver_runner.workspace import memory

SUM_UP = (
    "The limit of this turn is reached, and no more tools can be used in it. Say in a few sentences"
    " what was done and what is left."
)


class Talk:
    def __init__(self, turn: Turn, asking: Asking) -> None:
        self._turn = turn
        self._asking = asking
        self._messages = read(turn.history)
        self._notes = ""

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
            text = prompt(taken, now=now(), notice=SUM_UP if last else notice)
            notice = ""
            going_on = await self._round(content(text, taken), {} if last else turn.tools)
            if last:
                return

    async def _round(self, asking: str | list[UserContent], tools: Mapping[str, ToolSpec]) -> bool:
        """One request and all that it leads to, kept as a whole; true if tools were used."""
        self._turn.rounds += 1
        asked = [ModelRequest(parts=[UserPromptPart(asking)])] if asking else []
        response = await self._answer(asked, tools)
        calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
        if not tools:
            response.parts = [part for part in response.parts if part not in calls]
            calls = []
        await self._use(calls, asked, response)
        return bool(calls)

    async def _answer(
        self, asked: list[ModelRequest], tools: Mapping[str, ToolSpec]
    ) -> ModelResponse:
        try:
            return await self._asking.answer([*self._messages, *asked], self._parameters(tools))
        except asyncio.CancelledError:
            self._keep(*asked, *self._partial())
            raise
        except Overflow as exc:
            raise self._overflowed(exc) from exc
        except Unanswered as exc:
            raise self._failed(exc, asked) from exc

    def _overflowed(self, exc: Overflow) -> Failed:
        # Whatever made it too long is of this turn.
        self._turn.kept.clear()
        return Failed(exc.verdict.sentence)

    def _failed(self, exc: Unanswered, asked: list[ModelRequest]) -> Failed:
        if exc.verdict.poison:
            # Something of this turn is what the vendor does not take; no later one may hold it.
            self._turn.kept.clear()
        else:
            self._keep(*asked, *self._partial())
        return Failed(exc.verdict.sentence)

    def _parameters(self, tools: Mapping[str, ToolSpec]) -> ModelRequestParameters:
        turn = self._turn
        form = str(instructions(turn.launch, notes=self._notes, tools=turn.tools))
        return ModelRequestParameters(
            function_tools=[_definition(tool) for tool in tools.values()],
            instruction_parts=[InstructionPart(content=form)],
        )

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
        self._turn.kept += written(messages)

    def _partial(self) -> list[ModelResponse]:
        """What was said of an answer that was cut off, so that the model knows it."""
        text = self._asking.said.strip()
        return [ModelResponse(parts=[TextPart(text)])] if text else []


STOPPED = Result(text="The turn was stopped before this call was done.", failed=True)


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
