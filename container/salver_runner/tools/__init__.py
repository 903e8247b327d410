"""What an agent can do besides talking; one file per tool, found by `discover()`."""

import asyncio
import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from salver_runner.web import Web
from salver_runner.workspace.outgoing import Sent
from salver_runner.workspace.seen import Seen

Done = TypeVar("Done")

LONGEST_RESULT = 30_000
"""Characters of a tool's result that the model gets; the middle of longer ones is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the model is told; `failed` marks an error that it should react to."""

    text: str
    failed: bool = False


class Send(Protocol):
    def __call__(self, text: str, files: Sequence[Sent] = (), /) -> None:
        """Send the person a message before the turn ends; it is on record once this returns."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What a tool gets beside its arguments."""

    output: Callable[[str], None]
    """Takes live output while the tool runs."""
    send: Send
    outgoing: Path
    """Where files lie that are sent, each in a folder of its own."""
    seen: Seen
    """The files that this runner has read."""
    web: Web


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """What a tool's file exports as `TOOL`."""

    name: str
    description: str
    """For the model: what it does, when to use it, what comes back."""
    parameters: Mapping[str, object]
    """JSON schema of the arguments, an object."""
    longest: float
    """Seconds that one call may take at most."""
    run: Callable[[Mapping[str, object], Handed], Awaitable[Result]]
    """Never raises for bad arguments: the result says what was wrong. Cancelled, it leaves nothing running."""


def discover() -> dict[str, ToolSpec]:
    """The tools of this build, by name."""
    found: dict[str, ToolSpec] = {}
    for module in pkgutil.iter_modules(__path__):
        spec = getattr(importlib.import_module(f"{__name__}.{module.name}"), "TOOL", None)
        if isinstance(spec, ToolSpec):
            found[spec.name] = spec
    return found


async def settled(work: Callable[[], Done]) -> Done:
    """What `work` returns, done aside; cancelled, this waits for it: nothing is written after a turn."""
    working = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


def shorten(text: str, limit: int = LONGEST_RESULT) -> str:
    """At most about `limit` characters: the beginning and the end, and how much is missing between."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
