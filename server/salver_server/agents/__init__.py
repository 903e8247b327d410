"""Agents: what AGENT.md says, which version of it counts, and what a person agreed to of it; the house's
base and the skills beside it.
"""

from salver_server.agents.book import AgentBook, Standing
from salver_server.agents.definition import Budget, Definition, parse
from salver_server.agents.skills import Skill, SkillBook

__all__ = ["AgentBook", "Budget", "Definition", "Skill", "SkillBook", "Standing", "parse"]
