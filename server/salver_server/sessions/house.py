"""What the rooms of the bus work with: opened by `app`, the same for all sessions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from salver_server.accounts import Choice
from salver_server.agents import AgentBook, Definition
from salver_server.clock import Clock
from salver_server.errors import NeedsUser
from salver_server.ids import AgentName, InstallId, SessionId
from salver_server.runtimes import Identity, Probe, Runtime
from salver_server.settings import Places, Settings
from salver_server.store import Database


class Gate(Protocol):
    """The sandbox's only way out, as the keeper opens and shuts it."""

    def choose(self, agent: AgentName, definition: Definition) -> Choice:
        """What the agent's turns are run with; asks memory only. Raises `NeedsUser` with what is lacking."""
        ...

    async def open(
        self, session: SessionId, path: Path, *, agent: AgentName, token_hash: bytes, choice: Choice
    ) -> None: ...

    async def close(self, session: SessionId) -> None: ...

    async def packs(self, choice: Choice, say: Callable[[str], None]) -> Mapping[str, Path]:
        """Folders that the choice's runner needs, made first where they are missing.

        `say` is told how far that is. Raises `NeedsUser` and `Transient`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the keeper works with, opened by `app`."""

    install: InstallId
    identity: Identity
    settings: Settings
    places: Places
    database: Database
    clock: Clock
    runtimes: Mapping[str, Runtime]
    agents: AgentBook
    gate: Gate

    async def probes(self) -> dict[str, Probe]:
        """Whether each runtime works here."""
        return {name: await runtime.probe() for name, runtime in self.runtimes.items()}

    def runtime_of(self, agent: AgentName, definition: Definition) -> str:
        """Name of the runtime that starts this agent's runners; raises `NeedsUser` if there is no such."""
        name = definition.runtime or self.settings.runtime
        if name not in self.runtimes:
            raise NeedsUser(
                f"Agent '{agent}' wants the runtime '{name}', which this Salver does not have. "
                f"Choose one of: {', '.join(self.runtimes)}."
            )
        return name
