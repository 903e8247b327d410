"""Agents and their AGENT.md."""

from fastapi import APIRouter
from pydantic import BaseModel

from salver_server.agents import Standing, consent
from salver_server.api.rooms import Rooms, Use
from salver_server.errors import NeedsUser
from salver_server.ids import AgentName

router = APIRouter(prefix="/agents", tags=["agents"])


class Agent(BaseModel):
    name: str
    """Its folder; what commands and wirings call it."""
    title: str
    provider: str
    """As in AGENT.md; empty is the default one."""
    model: str
    runs_with: str
    """The models in their order, as things stand, or what is lacking."""
    problem: str
    """Why AGENT.md as it lies there is not used; empty if it is."""
    warnings: list[str] = []
    """What it does without, such as a skill that is not there, and what to do."""
    waits: str
    """What a person must do before all that it asks for counts; empty if nothing waits."""


class AgentFile(Agent):
    text: str
    """The AGENT.md that counts."""


class NewAgent(BaseModel):
    name: str
    text: str | None = None


class Text(BaseModel):
    text: str


class Reach(BaseModel):
    """What AGENT.md asks for beyond the sandbox."""

    what: str
    """To the letter; empty for nothing. A person agrees by sending it back."""
    told: list[str]
    """The same for people, line by line."""
    agreed: bool


class Consent(BaseModel):
    what: str


class Removed(BaseModel):
    folder: str
    """Where the agent's folder was moved to."""


@router.get("")
async def agents(rooms: Use) -> list[Agent]:
    """Every agent, those included that cannot be used yet."""
    usable = [_agent(rooms, standing) for standing in await rooms.agents.refresh()]
    others = [
        Agent(name=name, title=name, provider="", model="", runs_with="", problem=problem, waits="")
        for name, problem in rooms.agents.unusable.items()
    ]
    return sorted(usable + others, key=lambda agent: agent.name)


@router.get("/{name}")
async def agent(rooms: Use, name: AgentName) -> AgentFile:
    return _file(rooms, await rooms.agents.get(name))


@router.post("", status_code=201)
async def new(rooms: Use, body: NewAgent) -> AgentFile:
    return _file(rooms, await rooms.agents.new(body.name, body.text))


@router.put("/{name}")
async def edit(rooms: Use, name: AgentName, body: Text) -> AgentFile:
    """Replace AGENT.md; a text that cannot be used is refused and changes nothing."""
    rooms.agents.require(name)
    return _file(rooms, await rooms.agents.put(name, body.text))


@router.get("/{name}/reach")
async def reach(rooms: Use, name: AgentName) -> Reach:
    return _reach(await rooms.agents.get(name))


@router.put("/{name}/consent")
async def allow(rooms: Use, name: AgentName, body: Consent) -> Reach:
    """Agree to what was shown; refused when AGENT.md asks for something else by now."""
    return _reach(await rooms.agents.allow(name, body.what))


@router.delete("/{name}/consent")
async def disallow(rooms: Use, name: AgentName) -> Reach:
    """Take it back; counts from the next call on."""
    return _reach(await rooms.agents.disallow(name))


@router.delete("/{name}")
async def remove(rooms: Use, name: AgentName) -> Removed:
    rooms.agents.require(name)
    await rooms.leave(name)
    return Removed(folder=str(await rooms.agents.remove(name)))


def _agent(rooms: Rooms, standing: Standing) -> Agent:
    definition = standing.definition
    return Agent(
        name=standing.name,
        title=definition.name,
        provider=definition.provider,
        model=definition.model,
        runs_with=_runs_with(rooms, standing),
        problem=standing.problem,
        warnings=list(standing.warnings),
        waits=standing.waits,
    )


def _reach(standing: Standing) -> Reach:
    definition = standing.definition
    return Reach(
        what=consent.asks(definition),
        told=list(consent.told(definition)),
        agreed=bool(consent.asks(definition)) and not standing.waits,
    )


def _file(rooms: Rooms, standing: Standing) -> AgentFile:
    return AgentFile(**_agent(rooms, standing).model_dump(), text=standing.text)


def _runs_with(rooms: Rooms, standing: Standing) -> str:
    try:
        return str(rooms.accounts.choose(standing.name, standing.definition))
    except NeedsUser as exc:
        return str(exc)
