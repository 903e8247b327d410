"""The conversation as this turn goes on from it: what earlier turns kept, what this one adds, and how
both are made to fit into the model's window.
"""

import logging
from collections.abc import Sequence

from pydantic_ai.messages import ModelMessage, ModelRequest

from salver_runner import compaction
from salver_runner.compaction import STAYS, UNKNOWN_WINDOW, Cut
from salver_runner.providers.pydantic_ai import summing
from salver_runner.providers.pydantic_ai.asking import Asking, Overflow, Unanswered
from salver_runner.providers.pydantic_ai.history import read, written
from salver_runner.providers.pydantic_ai.sizes import (
    entry,
    fitting,
    size,
    squeezed,
    uncounted,
    used,
)
from salver_runner.providers.pydantic_ai.trouble import Verdict
from salver_runner.turn import JsonObject, Turn

logger = logging.getLogger(__name__)

LARGEST = 0.25
"""Of the window: what one message or one result of a tool takes of a request."""
SQUEEZED = 0.5
"""Of the window: what stays is shortened until it takes no more, together with what stands before it."""
ORDERED_STAYS = 2000
"""Tokens that stay word for word when a person orders it: nothing presses, but it is to become short."""


class Conversation:
    def __init__(self, turn: Turn, asking: Asking) -> None:
        self._turn = turn
        self._asking = asking
        self._messages = read(turn.history)
        self._earlier = len(self._messages)
        """How many of them are of earlier turns."""
        self._sound: list[JsonObject] = []
        """What is kept even if nothing of this turn may be."""
        self._tired = False
        """A summary could not be had in this turn."""

    @property
    def messages(self) -> Sequence[ModelMessage]:
        return self._messages

    @property
    def window(self) -> int:
        """Tokens that the model takes whose turn it is to answer."""
        return self._asking.choice.window or UNKNOWN_WINDOW

    def request(self, asked: list[ModelRequest]) -> list[ModelMessage]:
        """All messages of a request, no part of any too large."""
        return fitting([*self._messages, *asked], most=int(self.window * LARGEST))

    def keep(self, *messages: ModelMessage) -> None:
        """What the next request goes on from, and the next turn."""
        self._messages += messages
        self._turn.kept += written(messages)

    def forget(self) -> None:
        """Keep nothing of this turn: something in it is what no later one may hold."""
        self._turn.kept[:] = self._sound

    async def make_room(self, asked: list[ModelRequest], *, fixed: int) -> list[ModelRequest]:
        """What is asked, shortened where nothing else helps, once there is room for it.

        `fixed` is what stands before all messages. Where a summary cannot be had, the request is tried as it is.
        """
        need = used(self.request(asked), fixed=fixed)
        if self._tired or not compaction.is_due(need, self.window):
            return asked
        try:
            shorter = await self._compacted(asked, fixed=fixed, window=self.window)
        except Unanswered as exc:
            logger.warning("the conversation was not compacted: %s", exc)
            self._tired = True
            return asked
        return asked if shorter is None else shorter

    async def make_more_room(
        self, asked: list[ModelRequest], *, fixed: int
    ) -> list[ModelRequest] | None:
        """The same for a request that the vendor found too long; None where it cannot be shorter.

        Raises `Unanswered`.
        """
        window = min(self.window, used(self.request(asked), fixed=fixed))
        return await self._compacted(asked, fixed=fixed, window=window)

    async def shorter(self) -> list[JsonObject] | None:
        """The conversation with a summary in place of nearly all of it; None where it is short already."""
        room = min(ORDERED_STAYS, int(self.window * STAYS))
        cut = compaction.plan([entry(message) for message in self._messages], room=room)
        if cut is None:
            return None
        summary = await self._summary(self._messages, cut, self.window)
        return written([summary, *_stays(self._messages, cut)])

    async def _compacted(
        self, asked: list[ModelRequest], *, fixed: int, window: int
    ) -> list[ModelRequest] | None:
        messages = [*self._messages, *asked]
        cut = compaction.plan([entry(one) for one in messages], room=int(window * STAYS))
        room = max(int(window * SQUEEZED) - fixed, 0)
        earlier, held = self._earlier, list[ModelMessage]()
        if cut is None:
            held = squeezed(uncounted(messages), room=room)
            if sum(map(size, held)) == sum(map(size, messages)):
                return None
        else:
            gone = sum(index < self._earlier for index in cut.goes())
            stays = squeezed(_stays(messages, cut), room=room)
            held = [await self._summary(messages, cut, window), *stays]
            earlier = self._earlier - gone + 1
        self._begin_anew(held[: len(held) - len(asked)], earlier)
        return [one for one in held[len(self._messages) :] if isinstance(one, ModelRequest)]

    def _begin_anew(self, messages: list[ModelMessage], earlier: int) -> None:
        self._messages, self._earlier = messages, earlier
        self._sound = written(messages[:earlier])
        self._turn.kept[:] = written(messages)
        self._turn.anew = True

    async def _summary(
        self, messages: Sequence[ModelMessage], cut: Cut, window: int
    ) -> ModelRequest:
        goes = [messages[index] for index in cut.goes()]
        self._turn.line.tool(self._turn.number, "tool", "compacting the conversation")
        ended = "failed"
        try:
            text = await self._summed_up(goes, window)
            ended = "done"
        finally:
            self._turn.line.tool(self._turn.number, "tool-end", ended)
        logger.info(
            "conversation compacted: %d messages, %d tokens", len(goes), sum(map(size, goes))
        )
        return summing.in_place(text, window=window)

    async def _summed_up(self, messages: Sequence[ModelMessage], window: int) -> str:
        for share in (1, 2, 4):
            question = summing.question(messages, window=window // share)
            try:
                answer = await self._asking.silently([question], summing.parameters(window))
            except Overflow:
                if share == 4:
                    raise
                continue
            if text := (answer.text or "").strip():
                return text
            break
        raise Unanswered(Verdict(trouble="unreadable", sentence=NO_SUMMARY))


NO_SUMMARY = (
    "The conversation has become too long, and the model gave no summary of it. Send your message again,"
    " or begin a new conversation."
)


def _stays(messages: Sequence[ModelMessage], cut: Cut) -> list[ModelMessage]:
    carried = [] if cut.carry is None else [messages[cut.carry]]
    return uncounted([*carried, *messages[cut.keep :]])
