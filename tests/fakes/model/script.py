"""What a scripted model is told to do, in whatever format it is spoken to."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tests.fakes.model.peer import Peer, Received

Json = dict[str, Any]

CALLS = ("shell", "shells", "call")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    name: str
    rest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One thing in a conversation, as every format has it."""

    by: Literal["person", "model", "tools"]
    text: str
    called: bool = False


class Answer(Protocol):
    """One answer in the format of a vendor, streamed."""

    peer: Peer

    async def begin(self, headers: list[tuple[str, str]]) -> None: ...
    async def text(self, text: str) -> None: ...
    async def reasoning(self, text: str) -> None: ...
    async def call(self, index: int, ident: str, name: str, arguments: str) -> None: ...
    async def end(self, *, called: bool) -> None: ...


class Wire(Protocol):
    """The format of a vendor: what it asks for, and how it says no."""

    base: str
    """What an owner's URL ends with."""
    models: str
    """Path of the list of models."""

    def asks(self, path: str) -> bool:
        """Whether this path asks for an answer."""
        ...

    def key(self, headers: dict[str, str]) -> str | None: ...
    def model(self, received: Received) -> str: ...
    def listed(self, models: list[str]) -> Json: ...
    def has_tools(self, body: Json) -> bool: ...
    def said(self, body: Json) -> list[Said]: ...
    def objection(self, received: Received) -> str | None:
        """What the real API would say of this request, if it would not take it."""
        ...

    def unknown(self, model: str) -> tuple[int, str | None, str]:
        """Status, code and words for a model that it does not have."""
        ...

    def overflow(self, tokens: int, window: int) -> tuple[int, str | None, str] | None:
        """The same for a conversation that is too long; None for a vendor that cuts it silently."""
        ...

    def error(self, status: int, code: str | None, message: str) -> Json: ...
    def answer(self, peer: Peer, received: Received, ident: int) -> Answer: ...


def outstanding(said: Sequence[Said], script: str) -> list[Order]:
    """What is left to do, worked out from who said what so far."""
    if said and said[-1].text.startswith("<conversation>"):
        return _summary(said[-1].text)
    queue: list[Order] = []
    before = ""
    for one in said:
        if one.by == "person":
            left = queue if before == "tools" else []
            queue = [*left, *orders(one.text)] or default(one.text, script)
        elif one.by == "model" and one.called:
            queue = _after_call(queue)
        elif one.by == "model" or "turn was stopped" in one.text:
            queue = []
        before = one.by
    return queue


def _summary(text: str) -> list[Order]:
    lines = [line for line in text.splitlines() if line.startswith("fact:")]
    return [Order(name="say", rest=line) for line in lines or ["It was about nothing."]]


def default(text: str, script: str) -> list[Order]:
    return list(orders(script)) or [Order(name="say", rest=f"You wrote: {plain(text)}")]


def orders(text: str) -> Iterator[Order]:
    for line in text.splitlines():
        if line.strip().startswith("!"):
            name, _, rest = line.strip()[1:].partition(" ")
            yield Order(name=name, rest=rest.strip())


def calls(order: Order) -> list[tuple[str, str]]:
    """Tool name and arguments, as JSON or as whatever the script wants them to be."""
    if order.name == "call":
        name, _, raw = order.rest.partition(" ")
        return [(name, raw)]
    commands = order.rest.split(" ;; ") if order.name == "shells" else [order.rest]
    return [("shell", json.dumps({"command": command})) for command in commands]


def _after_call(queue: list[Order]) -> list[Order]:
    for index, order in enumerate(queue):
        if order.name in CALLS:
            return queue[index + 1 :]
    return []


def plain(text: str) -> str:
    """Without the lines that only frame what people wrote."""
    return "\n".join(line for line in text.splitlines() if not re.fullmatch(r"\s*<.*>\s*", line))


def words(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*|\s+", text)
