"""What the latest request of a turn was made of, for the record that people look at."""

from collections.abc import Sequence

from pydantic_ai.messages import ModelMessage, ModelResponse

from salver_runner.context import Context, Part, part
from salver_runner.inbox import Message
from salver_runner.launch import Choice
from salver_runner.providers.pydantic_ai.front import Front
from salver_runner.providers.pydantic_ai.sizes import size, texts
from salver_runner.providers.pydantic_ai.summing import is_summary
from salver_runner.turn import Turn


class Record:
    def __init__(self) -> None:
        self._messages: list[str] = []
        self._notices: list[str] = []
        self._count = 0

    def asked(self, messages: Sequence[Message], text: str, notice: str) -> None:
        """These messages go into the next request, as this text, with a notice of ours or none."""
        self._count += len(messages)
        self._notices += [notice] * bool(notice)
        self._messages += [text] * bool(messages)

    def context(
        self,
        turn: Turn,
        choice: Choice,
        front: Front,
        messages: Sequence[ModelMessage],
        response: ModelResponse | None,
    ) -> Context:
        summed_up = [message for message in messages[:1] if is_summary(message)]
        whole = part("history", ["".join(texts(message)) for message in messages])
        summary = part("summary", ["".join(texts(message)) for message in summed_up])
        notices = part("notice", self._notices)
        written = part("messages", self._messages)
        new = Part(
            part="messages",
            characters=max(0, written.characters - notices.characters),
            tokens=max(0, written.tokens - notices.tokens),
            count=self._count,
        )
        rest = Part(
            part="history",
            characters=max(0, whole.characters - summary.characters - written.characters),
            tokens=max(0, whole.tokens - summary.tokens - written.tokens),
            count=max(0, whole.count - summary.count - len(self._messages)),
        )
        counted = response.usage.input_tokens if response else 0
        return Context(
            model=f"{choice.provider}/{choice.model}",
            window=choice.window,
            used=counted or sum(it.tokens for it in front.parts) + sum(map(size, messages)),
            compacted=turn.anew,
            parts=[*front.parts, summary, rest, new, notices],
            messages=[message.seq for message in turn.seen],
        )
