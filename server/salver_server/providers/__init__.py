"""What a provider needs from the host: its packages and where its calls go; one file each, found by `discover()`.

How a turn is run with it is the runner's part; the two share no code.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The owner's settings as far as providers go by them."""

    openai_base_url: str
    openai_api_key: SecretStr | None = None
    openai_plain_http: bool = False
    """Whether calls may go to another computer unencrypted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a session's model calls go, and with what key; the gateway takes it as its upstream."""

    url: str
    key: SecretStr | None = None
    plain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """What a provider's file exports as `PROVIDER`."""

    name: str
    """As AGENT.md and the runner know it."""
    title: str
    pack: str | None = None
    """Name of the pack that its runner needs; None where the standard library is enough."""
    needs_model: bool = False
    """Whether AGENT.md has to name a model."""
    endpoint: Callable[[Access], Endpoint | None]
    """None for a provider that calls nobody: its sessions get no gateway."""


def discover() -> dict[str, ProviderSpec]:
    """The providers that this build has, by name."""
    found: dict[str, ProviderSpec] = {}
    for module in pkgutil.iter_modules(__path__):
        spec = getattr(importlib.import_module(f"{__name__}.{module.name}"), "PROVIDER", None)
        if isinstance(spec, ProviderSpec):
            found[spec.name] = spec
    return found
