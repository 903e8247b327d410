"""Agents: what AGENT.md says, and which version of it counts."""

from salver_server.agents.book import AgentBook, Standing
from salver_server.agents.definition import Budget, Definition, parse

__all__ = ["AgentBook", "Budget", "Definition", "Standing", "parse"]
