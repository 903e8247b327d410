"""What vendors really say when they do not answer, and what is to be made of it."""

import json
from dataclasses import dataclass, field
from typing import Any

from salver_runner.launch import Choice, Wire
from salver_runner.providers.pydantic_ai.complaints import Trouble

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    id: str
    vendor: str
    wire: Wire
    trouble: Trouble
    words: str
    """Of the sentence."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: str
    repeats: bool = False
    passes_on: bool = False
    poison: bool = False

    @property
    def choice(self) -> Choice:
        return Choice(provider=self.vendor, wire=self.wire, model="m-1", window=0, sees=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What follows from a kind of trouble."""

    repeats: bool = False
    passes_on: bool = False
    poison: bool = False


FATES: dict[Trouble, Fate] = {
    "key_refused": Fate(passes_on=True),
    "quota": Fate(passes_on=True),
    "rate_limit": Fate(repeats=True, passes_on=True),
    "overload": Fate(repeats=True, passes_on=True),
    "network": Fate(repeats=True, passes_on=True),
    "unknown_model": Fate(passes_on=True),
    "context_full": Fate(poison=True),
    "refused": Fate(poison=True),
    "rejected": Fate(poison=True),
    "gateway": Fate(),
    "unreadable": Fate(),
}


def error(
    id_: str,
    vendor: str,
    wire: Wire,
    status: int,
    body: Json | list[Json] | str,
    trouble: Trouble,
    words: str,
    **headers: str,
) -> Case:
    """Instead of an answer."""
    fate = FATES[trouble]
    return Case(
        id=f"{vendor}-{wire}-{id_}",
        vendor=vendor,
        wire=wire,
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=body if isinstance(body, str) else json.dumps(body),
        trouble=trouble,
        words=words,
        repeats=fate.repeats and float(headers.get("retry_after", 0)) <= 30,
        passes_on=fate.passes_on,
        poison=fate.poison,
    )


def broken(
    id_: str, vendor: str, wire: Wire, events: list[Json], trouble: Trouble, words: str
) -> Case:
    """In the middle of an answer."""
    named = wire in ("responses", "anthropic")
    lines = [
        (f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}\n\n"
        for event in events
    ]
    return error(id_, vendor, wire, 200, "".join(lines), trouble, words)
