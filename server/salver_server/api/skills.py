"""Skills: what lies in the folder of skills, what is wrong with it, and who reads it."""

from fastapi import APIRouter
from pydantic import BaseModel

from salver_server.agents.skills import Found
from salver_server.api.rooms import Use

router = APIRouter(prefix="/skills", tags=["skills"])


class Skill(BaseModel):
    name: str
    description: str
    agents: list[str]
    """Those whose AGENT.md names it."""
    problem: str
    """Why it cannot be used; empty if it can."""


@router.get("")
async def skills(rooms: Use) -> list[Skill]:
    """Every skill that lies there or that an agent wants."""
    wanted = {agent.name: agent.definition.skills for agent in await rooms.agents.refresh()}
    found = {it.name: it for it in rooms.skills.all()}
    for name in (name for names in wanted.values() for name in names):
        found.setdefault(name, rooms.skills.get(name))
    return [
        _skill(it, [agent for agent, names in wanted.items() if it.name in names])
        for _, it in sorted(found.items())
    ]


def _skill(found: Found, agents: list[str]) -> Skill:
    return Skill(
        name=found.name,
        description=found.skill.description if found.skill else "",
        agents=agents,
        problem=found.problem,
    )
