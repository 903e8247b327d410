"""The launch record: what the server tells a runner once, in /salver/in/launch.json."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PROTOCOL = 1
"""Version of the bus and the line; server and runner must agree."""

Wire = Literal["chat", "responses", "google", "anthropic"]
"""The format that a vendor speaks."""


class Mismatch(Exception):
    """Server and runner speak different versions of the bus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one turn. At the soft ones the provider is asked to end with a summary."""

    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model that may take the turn, and how it is reached."""

    provider: str
    """The vendor account, as the gateway knows it."""
    wire: Wire
    model: str
    window: int
    """Tokens of context that it has; 0 where nobody knows."""
    sees: bool
    """Whether it takes images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """Instructions that lie at /salver/skills/<name>, read when a task is of their kind."""

    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an agent is told of where it is, beside its own instructions."""

    base: str = ""
    """What the person tells all agents of the house."""
    skills: tuple[Skill, ...] = ()
    web: str = "none"
    """How far the web is open to it."""
    memory_mb: int = 0
    processes: int = 0
    disk_mb: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    session: str
    generation: int
    epoch: int
    read: int
    """Seq up to which the server has read outbound.db."""
    agent: str
    provider: str
    models: tuple[Choice, ...]
    """In the order in which they are asked; none where the provider needs none."""
    instructions: str
    token: str
    """What the gateway knows this session by; no credential of a person's."""
    limits: Limits
    surroundings: Surroundings = Surroundings()
    attempts: dict[int, int]
    """Inbound seq to attempts that ended in a crash; such messages are offered one at a time."""
    failpoint: str


def surroundings(proxy: str) -> dict[str, str]:
    """What a command finds in its environment: this runner's own, and the way out where there is one."""
    return dict(os.environ) | ({"HTTPS_PROXY": proxy, "https_proxy": proxy} if proxy else {})


def read_launch(path: Path) -> Launch:
    """The record at `path`; raises `Mismatch` when it is of another version."""
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["protocol"] != PROTOCOL:
        raise Mismatch(
            f"The server speaks version {record['protocol']} of the bus, this runner {PROTOCOL}. "
            "Restart Salver so that both come from the same installation."
        )
    return Launch(
        session=record["session"],
        generation=record["generation"],
        epoch=record["epoch"],
        read=record["read"],
        agent=record["agent"],
        provider=record["provider"],
        models=tuple(_choice(choice) for choice in record["models"]),
        instructions=record["instructions"],
        token=record["token"],
        limits=Limits(rounds=record["limits"]["rounds"], seconds=record["limits"]["seconds"]),
        surroundings=_surroundings(record["surroundings"]),
        attempts={int(seq): count for seq, count in record["attempts"].items()},
        failpoint=record["failpoint"],
    )


def _choice(record: dict[str, Any]) -> Choice:
    return Choice(
        provider=record["provider"],
        wire=record["wire"],
        model=record["model"],
        window=record["window"],
        sees=record["sees"],
    )


def _surroundings(record: dict[str, Any]) -> Surroundings:
    return Surroundings(
        base=record["base"],
        skills=tuple(Skill(**skill) for skill in record["skills"]),
        web=record["web"],
        memory_mb=record["memory_mb"],
        processes=record["processes"],
        disk_mb=record["disk_mb"],
    )
