"""One session with a sandbox, as the server sees it while it lives."""

import asyncio
from dataclasses import dataclass, field

from salver_server.agents import Definition
from salver_server.runtimes import Sandbox
from salver_server.sessions import store
from salver_server.sessions.entrance import Entrance
from salver_server.sessions.folders import Folders
from salver_server.sessions.line import Line


@dataclass(slots=True, kw_only=True)
class Live:
    """One session with a sandbox."""

    session: store.Session
    generation: int
    sandbox: Sandbox
    entrance: Entrance
    definition: Definition
    version: str
    """Of what it was started with: its AGENT.md, and what its turns are run with."""
    started: float
    used: float
    """When something was last handed over or done, by the boot clock."""
    patient_until: float
    """The turn is left alone until then."""
    nudges: int = 0
    retiring: bool = False
    """It was told to leave as soon as it has nothing to do."""
    killing: bool = False
    dead: bool = False
    """Its death is certain; it is not buried yet."""
    buried: asyncio.Event = field(default_factory=asyncio.Event)
    blameless: bool = False
    """We end it for reasons of our own: no message is at fault."""
    verdict: str = ""
    """Why we ended it, for people."""
    distrusted: str = ""
    """Why its outbound.db is not taken for a runner's of ours."""
    stalled: bool = False

    @property
    def line(self) -> Line:
        return self.entrance.line

    @property
    def place(self) -> Folders:
        return self.entrance.place

    @property
    def leaving(self) -> bool:
        """It will be gone soon."""
        return self.retiring or bool(self.verdict)
