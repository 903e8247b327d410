"""FakeMeter: remembers every call that it was told of, and refuses the next ones if asked to."""

import asyncio
from dataclasses import dataclass

from salver_server.calls import Ask, Tokens
from salver_server.errors import NeedsUser
from salver_server.ids import CallId


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    ask: Ask
    status: int
    tokens: Tokens | None


class FakeMeter:
    def __init__(self) -> None:
        self.refusal: NeedsUser | None = None
        """Raised by `begin`, until it's None again."""
        self.begun: list[Ask] = []
        self.ended: list[Ended] = []
        self._news = asyncio.Condition()

    async def begin(self, ask: Ask) -> CallId:
        if self.refusal is not None:
            raise self.refusal
        self.begun.append(ask)
        return CallId(len(self.begun))

    async def end(self, call: CallId, *, status: int, tokens: Tokens | None) -> None:
        self.ended.append(Ended(ask=self.begun[call - 1], status=status, tokens=tokens))
        async with self._news:
            self._news.notify_all()

    async def over(self, calls: int) -> Ended:
        """Wait until so many calls are over, and return the last of them."""
        async with self._news, asyncio.timeout(10):
            await self._news.wait_for(lambda: len(self.ended) >= calls)
        return self.ended[calls - 1]
