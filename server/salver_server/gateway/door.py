"""One session's socket: who may call through it, and how much at a time."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from salver_server.gateway.exchange import Exchange, Refused
from salver_server.gateway.upstream import Target
from salver_server.gateway.web import MOST_WAYS
from salver_server.ids import AgentName, SessionId
from salver_server.kit.pace import Pace

MOST_CALLS = 4
"""Model calls of one session at a time; each may hold a request body in memory."""
MOST_CONNECTIONS = MOST_CALLS + MOST_WAYS
REFUSALS_A_SECOND = 20
"""Each is said in the log; who asks on and on for what it may not have is answered more slowly."""
READING_A_SECOND = 100_000
"""Microseconds that it may take to understand what one session asks; the rest waits."""


@dataclass(slots=True, kw_only=True)
class Door:
    session: SessionId
    agent: AgentName
    path: Path
    token_hash: bytes
    targets: Mapping[str, Target]
    """By the beginning of the path that leads to each."""
    server: asyncio.Server | None = None
    calls: dict[asyncio.Task[None], Exchange] = field(
        default_factory=dict[asyncio.Task[None], Exchange]
    )
    metered: set[Exchange] = field(default_factory=set[Exchange])
    """Calls that the meter knows of."""
    model_calls: int = 0
    refusals: Pace = field(default_factory=lambda: Pace(REFUSALS_A_SECOND))
    understanding: asyncio.Lock = field(default_factory=asyncio.Lock)
    reading: Pace = field(default_factory=lambda: Pace(READING_A_SECOND))

    @contextmanager
    def model_call(self) -> Generator[Refused | None]:
        """One of those that a session may make at a time, or why it is one too many."""
        self.model_calls += 1
        try:
            yield _too_many() if self.model_calls > MOST_CALLS else None
        finally:
            self.model_calls -= 1


def _too_many() -> Refused:
    return Refused(503, "not_allowed", f"At most {MOST_CALLS} calls go out at a time. Try again.")


def listening(path: Path, *, owner: tuple[int, int] | None) -> socket.socket:
    """A socket at `path` that the sandbox may connect to; whoever finds it there finds it ready."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    aside = path.with_name(f".{path.name}")
    try:
        aside.unlink(missing_ok=True)
        door.bind(str(aside))
        aside.chmod(0o600)
        if owner is not None:
            os.chown(aside, *owner)
        door.listen(MOST_CONNECTIONS)
        aside.rename(path)
    except BaseException:
        door.close()
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    return door
