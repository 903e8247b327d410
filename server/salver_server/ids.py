"""The names by which Salver knows things; each is opaque and minted here or by its owner.

Agent: a persona, named by its folder. Chat: one conversation place on one channel. Session: one
running conversation of one agent. Message: one accepted inbound message. Install: one data folder.
Secret: a credential, known by a name such as `openai.api-key`; its value is never an id of anything.
"""

import re
import secrets
from typing import NewType

AgentName = NewType("AgentName", str)
"""Folder name of an agent: lower-case letters, digits and dashes, 1 to 40 characters."""
CallId = NewType("CallId", int)
"""One call to a model."""
ChannelName = NewType("ChannelName", str)
ChatId = NewType("ChatId", str)
DeliveryId = NewType("DeliveryId", str)
FileId = NewType("FileId", str)
"""One file, from its upload on, or as an agent sent it."""
InstallId = NewType("InstallId", str)
MessageId = NewType("MessageId", str)
SecretName = NewType("SecretName", str)
"""Lower-case letters, digits, dashes and dots, 1 to 80 characters."""
SessionId = NewType("SessionId", str)
SkillName = NewType("SkillName", str)
"""Folder name of a skill: lower-case letters, digits and dashes, 1 to 64 characters."""

AGENT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
SKILL_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
FILE_ID = re.compile(r"fil-[0-9a-f]{20}")
SECRET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,78}[a-z0-9])?")


def mint(prefix: str) -> str:
    """A new id: a short prefix that tells its kind, and 80 random bits in lower-case hex."""
    return f"{prefix}-{secrets.token_hex(10)}"


def new_epoch() -> int:
    """A number that names one file outbound.db for ever; random, so that no file passes for another."""
    return secrets.randbits(62) + 1
