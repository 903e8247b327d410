"""Agents: what AGENT.md says, and which version of it counts."""

from salver_server.agents.book import AgentBook, Standing
from salver_server.agents.definition import Definition, parse

__all__ = ["AgentBook", "Definition", "Standing", "parse"]
