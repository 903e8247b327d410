"""The house as a whole: is it well, what runs, stop everything, resume."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from salver_server.api.rooms import Use
from salver_server.api.shapes import KeychainStanding
from salver_server.sessions import views

router = APIRouter(tags=["house"])


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class RuntimeStatus(BaseModel):
    name: str
    works: bool
    reason: str
    fix: str
    held_by: dict[str, str]
    """Which limit is held by what."""


class Status(BaseModel):
    version: str
    pid: int
    port: int
    home: str
    started_at: str
    stopped: bool
    """Everything was stopped; nothing wakes until resumed."""
    runtimes: list[RuntimeStatus]
    sandboxes: int
    most_sandboxes: int
    keychain: KeychainStanding
    running: int
    """Messages that a turn is at work on."""
    waiting: int


@router.get("/health")
async def health() -> Health:
    """Whether the server answers; the one thing that is heard over TCP."""
    return Health()


@router.get("/status")
async def status(rooms: Use) -> Status:
    probes = await rooms.probes()
    counts = await rooms.database.read(views.counts)
    return Status(
        version=rooms.version,
        pid=rooms.pid,
        port=rooms.port,
        home=str(rooms.settings.home),
        started_at=rooms.started_at,
        stopped=rooms.keeper.stopped,
        runtimes=[
            RuntimeStatus(
                name=name, works=p.works, reason=p.reason, fix=p.fix, held_by=dict(p.held_by)
            )
            for name, p in probes.items()
        ],
        sandboxes=len(rooms.keeper.all_live()),
        most_sandboxes=rooms.settings.most_sandboxes,
        keychain=KeychainStanding.of(rooms.vault.standing()),
        running=sum(count.running for count in counts.values()),
        waiting=sum(count.waiting for count in counts.values()),
    )


class Stopped(BaseModel):
    stopped: Literal[True] = True
    left: int
    """Sandboxes that do not end; their sessions say why."""


class Resumed(BaseModel):
    stopped: Literal[False] = False


@router.post("/stop")
async def stop(rooms: Use) -> Stopped:
    """Stop everything: every sandbox is dead when this returns, and nothing wakes until resumed."""
    return Stopped(left=await rooms.keeper.stop())


@router.post("/resume")
async def resume(rooms: Use) -> Resumed:
    """Go on with everything that waits."""
    await rooms.keeper.resume()
    return Resumed()
