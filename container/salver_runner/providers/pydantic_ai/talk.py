"""The rounds of one turn: what each request holds, and what is kept of it."""

import asyncio

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)

from salver_runner.clock import now
from salver_runner.instructions import instructions
from salver_runner.prompt import prompt
from salver_runner.providers.pydantic_ai.asking import Asking, Overflow, Unanswered
from salver_runner.providers.pydantic_ai.conversation import Conversation
from salver_runner.providers.pydantic_ai.front import Front
from salver_runner.providers.pydantic_ai.pictures import content
from salver_runner.providers.pydantic_ai.record import Record
from salver_runner.tools import Result
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
        self._conversation = Conversation(turn, asking)
        self._record = Record()

    async def run(self) -> None:
        turn = self._turn
        # Once: what the agent notes during the turn, it knows from the call.
        notes = await asyncio.to_thread(memory.notes)
        told = instructions(turn.launch, notes=notes, tools=turn.tools)
        notice, going_on = turn.note, False
        while True:
            last = turn.last_round and turn.rounds > 0
            # What comes in at the limit opens the next turn, which has a limit of its own.
            taken = [] if last else turn.take()
            if not taken and not going_on:
                return
            notice = SUM_UP if last else notice
            text = prompt(taken, now=now(), notice=notice)
            self._record.asked(taken, text, notice)
            notice = ""
            front = Front(told=told, tools={} if last else turn.tools)
            going_on = await self._round(content(text, taken), front)
            if last:
                return

    async def _round(self, asking: str | list[UserContent], front: Front) -> bool:
        """One request and all that it leads to, kept as a whole; true if tools were used."""
        self._turn.rounds += 1
        asked = [ModelRequest(parts=[UserPromptPart(asking)])] if asking else []
        asked, response = await self._answer(asked, front)
        calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
        if not front.tools:
            response.parts = [part for part in response.parts if part not in calls]
            calls = []
        await self._use(calls, asked, response)
        return bool(calls)

    async def _answer(
        self, asked: list[ModelRequest], front: Front
    ) -> tuple[list[ModelRequest], ModelResponse]:
        """The answer, and what was asked: it may have been shortened."""
        talk = self._conversation
        try:
            asked = await talk.make_room(asked, fixed=front.size)
            try:
                response = await self._asked(asked, front)
            except Overflow:
                shorter = await talk.make_more_room(asked, fixed=front.size)
                if shorter is None:
                    raise
                asked = shorter
                response = await self._asked(asked, front)
        except asyncio.CancelledError:
            talk.keep(*asked, *self._partial())
            raise
        except Unanswered as exc:
            if exc.verdict.poison:
                # Something of this turn is what the vendor does not take; no later one may hold it.
                talk.forget()
            else:
                talk.keep(*asked, *self._partial())
            raise Failed(exc.verdict.sentence) from exc
        return asked, response

    async def _asked(self, asked: list[ModelRequest], front: Front) -> ModelResponse:
        messages = self._conversation.request(asked)
        self._note(messages, front, None)
        response = await self._asking.answer(messages, front.parameters)
        self._note(messages, front, response)
        return response

    def _note(
        self, messages: list[ModelMessage], front: Front, response: ModelResponse | None
    ) -> None:
        self._turn.context = self._record.context(
            self._turn, self._asking.choice, front, messages, response
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
            self._conversation.keep(
                *asked, response, *([ModelRequest(parts=returns)] if returns else [])
            )

    async def _call(self, call: ToolCallPart) -> Result:
        try:
            arguments = call.args_as_dict(raise_if_invalid=True)
        except (ValueError, AssertionError) as exc:
            return Result(
                text=f"Nothing was done: the arguments are not a JSON object ({exc}). Call it again.",
                failed=True,
            )
        return await self._turn.use(call.tool_name, arguments)

    def _partial(self) -> list[ModelResponse]:
        """What was said of an answer that was cut off, so that the model knows it."""
        text = self._asking.said.strip()
        return [ModelResponse(parts=[TextPart(text)])] if text else []


STOPPED = Result(text="The turn was stopped before this call was done.", failed=True)


def _return(call: ToolCallPart, result: Result) -> ToolReturnPart:
    # Not marked as failed: the text says it, and the mark would wrap a log in a JSON string.
    return ToolReturnPart(
        tool_name=call.tool_name, content=result.text, tool_call_id=call.tool_call_id
    )
