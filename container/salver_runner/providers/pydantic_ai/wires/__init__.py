"""The formats that vendors speak, one file each, imported only when a model that speaks it is asked."""

from dataclasses import dataclass
from typing import assert_never

import httpx2
from pydantic_ai.models import Model

from salver_runner.launch import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The way out of the sandbox: the gateway, and what it knows this session by."""

    http: httpx2.AsyncClient
    token: str

    def url(self, choice: Choice) -> str:
        return f"http://gateway/{choice.provider}"


def open_model(choice: Choice, door: Door) -> Model:
    match choice.wire:
        case "chat":
            from salver_runner.providers.pydantic_ai.wires import chat as wire
        case "responses":
            from salver_runner.providers.pydantic_ai.wires import responses as wire
        case "google":
            from salver_runner.providers.pydantic_ai.wires import google as wire
        case "anthropic":
            from salver_runner.providers.pydantic_ai.wires import anthropic as wire
        case _:
            assert_never(choice.wire)
    return wire.open_model(choice, door)
