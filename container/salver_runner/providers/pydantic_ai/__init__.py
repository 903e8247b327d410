"""Turns with the models of vendors, by way of the pydantic-ai library.

The library translates; the loop is ours, so that it is exact what each request holds. Every request
goes through the gateway on its unix socket.
"""

import random
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import httpx2

from salver_runner.clock import elapsed
from salver_runner.launch import Choice
from salver_runner.providers.pydantic_ai.asking import Asking, Patience, Unanswered
from salver_runner.providers.pydantic_ai.conversation import Conversation
from salver_runner.providers.pydantic_ai.talk import Talk
from salver_runner.providers.pydantic_ai.wires import Door
from salver_runner.turn import Failed, JsonObject, Turn


class PydanticAI:
    def __init__(self, patience: Patience, *, spread: Callable[[], float]) -> None:
        """`spread` gives a number between 0 and 1, so that not all repeat at the same moment."""
        self._patience = patience
        self._spread = spread
        self._stand_in: tuple[Choice, float] | None = None
        """Who has answered in place of the first choice, and until when it is asked first."""

    async def turn(self, turn: Turn) -> None:
        async with self._asking(turn) as asking:
            await Talk(turn, asking).run()

    async def compact(self, turn: Turn) -> list[JsonObject]:
        async with self._asking(turn) as asking:
            try:
                shorter = await Conversation(turn, asking).shorter()
            except Unanswered as exc:
                raise Failed(exc.verdict.sentence) from exc
        return turn.history if shorter is None else shorter

    @asynccontextmanager
    async def _asking(self, turn: Turn) -> AsyncGenerator[Asking]:
        choices = self._order(turn.launch.models)
        if not choices:
            raise Failed(
                "No model is chosen for this agent. Set `model` in its AGENT.md, such as gpt-5-mini."
            )
        async with _open_door(turn, silence=self._patience.silence) as door:
            asking = Asking(turn, choices, door, self._patience, spread=self._spread)
            try:
                yield asking
            finally:
                if asking.choice != choices[0]:
                    self._stand_in = (asking.choice, elapsed() + self._patience.rest)

    def _order(self, choices: Sequence[Choice]) -> list[Choice]:
        match self._stand_in:
            case (choice, until) if choice in choices and elapsed() < until:
                first = choices.index(choice)
                return [*choices[first:], *choices[:first]]
            case _:
                return list(choices)


@asynccontextmanager
async def _open_door(turn: Turn, *, silence: float) -> AsyncGenerator[Door]:
    # A bare context: nothing is encrypted on a unix socket, and reading certificates takes 20 ms.
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = httpx2.AsyncHTTPTransport(uds=str(turn.gateway), verify=bare)
    timeout = httpx2.Timeout(connect=5, write=60, read=silence, pool=5)
    headers = {"x-salver-turn": str(turn.number)}
    async with httpx2.AsyncClient(
        transport=transport, timeout=timeout, headers=headers, trust_env=False
    ) as http:
        yield Door(http=http, token=turn.launch.token)


PROVIDER = PydanticAI(Patience(), spread=random.SystemRandom().random)
