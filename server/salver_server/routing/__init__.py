"""Which sessions a message is for: a pure decision over the chat's wirings."""

from dataclasses import dataclass
from typing import Literal, assert_never

from salver_server.ids import AgentName, ChatId
from salver_server.messages import Inbound

Mode = Literal["shared", "per-thread", "agent-shared"]
"""What shares a session: the chat, one thread of it, or all chats of the agent."""
Engagement = Literal["every-message"]
"""Which messages of a chat an agent takes up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """An agent serves a chat, and how."""

    agent: AgentName
    mode: Mode
    engagement: Engagement


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What identifies one open session."""

    agent: AgentName
    chat: ChatId | None
    thread: str | None


def route(message: Inbound, chat: ChatId, wirings: list[Wiring]) -> list[Place]:
    """The sessions that this message is for, one per agent that takes it up; empty for nobody."""
    return [
        _place(wiring, chat, message.thread) for wiring in wirings if _engages(wiring.engagement)
    ]


def _engages(engagement: Engagement) -> bool:
    match engagement:
        case "every-message":
            return True
        case _:
            assert_never(engagement)


def _place(wiring: Wiring, chat: ChatId, thread: str | None) -> Place:
    match wiring.mode:
        case "shared":
            return Place(agent=wiring.agent, chat=chat, thread=None)
        case "per-thread":
            return Place(agent=wiring.agent, chat=chat, thread=thread)
        case "agent-shared":
            return Place(agent=wiring.agent, chat=None, thread=None)
        case _:
            assert_never(wiring.mode)
