"""What a request to a model is made of, by part and size: kept with the turn, so that people can see it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

PartName = Literal[
    "base", "instructions", "memory", "skills", "tools", "summary", "history", "messages", "notice"
]
BYTES_A_TOKEN = 4
"""Of English text, about; other scripts take more bytes and more tokens."""
MOST_MESSAGES = 1000


def tokens(text: str) -> int:
    """How many tokens a text has, about."""
    return -(-len(text.encode(errors="replace")) // BYTES_A_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    part: PartName
    characters: int
    tokens: int
    """An estimate."""
    count: int
    """How many things of this kind."""


def part(name: PartName, texts: Iterable[str]) -> Part:
    """What these texts are together."""
    found = list(texts)
    return Part(
        part=name,
        characters=sum(map(len, found)),
        tokens=sum(map(tokens, found)),
        count=len(found),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    model: str
    window: int
    """Tokens that the model takes; 0 where nobody knows."""
    used: int
    """Tokens of the request, counted by the model's provider where it says so."""
    compacted: bool
    """Earlier parts of the conversation were summarised in this turn."""
    parts: Sequence[Part]
    messages: Sequence[int]
    """Numbers of the messages that the turn took up."""

    def record(self) -> dict[str, object]:
        """The body of its row in outbound.db."""
        return {
            "model": self.model,
            "window": self.window,
            "used": self.used,
            "compacted": self.compacted,
            "parts": [asdict(part) for part in self.parts if part.count],
            "messages": list(self.messages[-MOST_MESSAGES:]),
        }
