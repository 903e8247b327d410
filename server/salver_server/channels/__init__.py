"""Where people write from and read; one file per platform, found by `discover()`."""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from salver_server.ids import ChannelName
from salver_server.messages import Inbound, Outbound

Intake = Callable[[Inbound], Awaitable[object]]
"""Accepts a message for ever; only when it has returned may the channel acknowledge to the platform."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the platform gave back: its own id of the message sent, or nothing."""

    id: str = ""


class Channel(Protocol):
    async def send(self, message: Outbound, /) -> Receipt:
        """Deliver one message and return when the platform has it.

        Raises `Transient` (try again, perhaps after `retry_after`), `NeedsUser` (a person must act;
        the message keeps its place), `Rejected` (this message can never be sent), each only when it was
        certainly not sent. Any other end, cancellation included, leaves open whether it was sent.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSpec:
    """What a channel's file exports as `CHANNEL`."""

    name: ChannelName
    title: str
    idempotent: bool
    """The platform recognises `Outbound.id`: sending twice is sending once."""
    open: Callable[[Intake], AbstractAsyncContextManager[Channel]]


def discover() -> dict[ChannelName, ChannelSpec]:
    """The channels that this build has, by name."""
    found: dict[ChannelName, ChannelSpec] = {}
    for module in pkgutil.iter_modules(__path__):
        spec = getattr(importlib.import_module(f"{__name__}.{module.name}"), "CHANNEL", None)
        if isinstance(spec, ChannelSpec):
            found[spec.name] = spec
    return found
