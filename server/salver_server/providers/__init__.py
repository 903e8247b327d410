"""What a model vendor needs from the host: packages, an address, a key; one file each, found by `discover()`.

How a turn is run with it is the runner's part; the two share no code.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Literal

from salver_server.calls import Wire

Runner = Literal["demo", "pydantic-ai"]
"""The runner's own provider: the code that takes the turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """What a provider's file exports as `PROVIDER`."""

    name: str
    """As AGENT.md and `salver provider` call it."""
    title: str
    runner: Runner = "pydantic-ai"
    wire: Wire | None
    """None for a provider that calls nobody: its sessions get no gateway."""
    base_url: str = ""
    """Where its calls go unless the owner says otherwise; empty if only the owner can know."""
    key: Literal["yes", "may", "no"] = "yes"
    """Whether it wants a key."""
    suggested: str = ""
    """The model that is used where none is named; empty if none is everybody's."""
    pack: str | None = "pydantic-ai"
    """Name of the pack that its runner needs; None where the standard library is enough."""
    keys_at: str = ""
    """The page where its keys are made."""


def discover() -> dict[str, ProviderSpec]:
    """The providers that this build has, by name."""
    found: dict[str, ProviderSpec] = {}
    for module in pkgutil.iter_modules(__path__):
        spec = getattr(importlib.import_module(f"{__name__}.{module.name}"), "PROVIDER", None)
        if isinstance(spec, ProviderSpec):
            found[spec.name] = spec
    return found
