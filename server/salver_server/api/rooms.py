"""What the endpoints may call, opened by `app`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from salver_server.accounts import Accounts, Trials
from salver_server.agents import AgentBook, SkillBook
from salver_server.clock import Clock
from salver_server.delivery import Courier
from salver_server.files import Uploads
from salver_server.ids import AgentName, SessionId
from salver_server.intake import Intake, Queue
from salver_server.kit.hub import Hub
from salver_server.messages import Event
from salver_server.runtimes import Probe
from salver_server.secrets import Vault
from salver_server.sessions.keeper import Keeper
from salver_server.settings import Places, Settings
from salver_server.store import Database
from salver_server.usage import Ledger, Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    settings: Settings
    places: Places
    clock: Clock
    database: Database
    agents: AgentBook
    skills: SkillBook
    intake: Intake
    uploads: Uploads
    queue: Queue
    keeper: Keeper
    courier: Courier
    hub: Hub[SessionId, Event]
    vault: Vault
    accounts: Accounts
    trials: Trials
    ledger: Ledger
    prices: Prices
    leave: Callable[[AgentName], Awaitable[None]]
    """Ends whatever an agent that is to be removed has: sessions, accounts."""
    probes: Callable[[], Awaitable[dict[str, Probe]]]
    started_at: str
    version: str
    pid: int
    port: int


async def _rooms(request: Request) -> Rooms:
    return cast(Rooms, request.app.state.rooms)


Use = Annotated[Rooms, Depends(_rooms)]
