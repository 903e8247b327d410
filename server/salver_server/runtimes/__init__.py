"""How a runner is started, found again and stopped; one file per way, found by `discover()`.

A sandbox holds no pipe to the server and is not tied to its life. It is known by its mark, which
survives a restart of the server and proves which sandbox it is, so that no other one is touched.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from salver_server.ids import InstallId, SessionId

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one sandbox may use. Sizes in bytes."""

    memory: int = 1024 * MIB
    processes: int = 256
    file: int = 1024 * MIB
    """Size of any single file."""
    disk: int = 4096 * MIB
    """work/, home/ and out/ together; passing it stops the sandbox."""
    tmp: int = 256 * MIB
    """Each of /tmp and /dev/shm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user that a sandbox runs as; never uid 0 inside."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Everything a runtime needs to start one runner. Paths are the host's and exist."""

    install: InstallId
    session: SessionId
    generation: int
    task: Literal["serve", "heal"] = "serve"
    """`serve` takes turns; `heal` only opens and closes outbound.db, which rolls a hot journal back."""
    inbox: Path
    """Seen read-only at /salver/in."""
    outbox: Path
    """Seen read-write at /salver/out."""
    work: Path
    """Seen read-write at /workspace; the runner's working directory."""
    home: Path
    """Seen read-write at /salver/home; HOME."""
    line: Path
    """Folder of the sockets `line` and `gateway`, seen read-only at /salver/line."""
    packs: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Name of a provider's pack to its folder, seen read-only at /salver/packs/<name>."""
    skills: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Name of a skill to its folder, seen read-only at /salver/skills/<name>."""
    log: Path
    """What the runner prints is appended here."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Proof of which sandbox this is; `handle` is the runtime's own, opaque elsewhere."""

    runtime: str
    session: SessionId
    generation: int
    handle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a sandbox ended, with a plain sentence for people."""

    cause: Literal["ended", "killed", "memory", "disk", "lost"]
    """`ended` by itself, `killed` by us, over a limit, or `lost` while nobody watched."""
    code: int | None
    """Exit code of the runner; negative is a signal; None where it cannot be known."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a live sandbox uses now; None where it cannot be measured."""

    memory: int | None
    processes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Whether a runtime works here; if not, why, and what to do about it."""

    works: bool
    reason: str
    """One sentence: the version found, or what is missing."""
    fix: str
    """What to do now; empty when it works."""
    held_by: Mapping[str, str] = field(default_factory=dict[str, str])
    """Limit name to what enforces it here, such as `memory: cgroup v2` or `memory: watchdog`."""


class Sandbox(Protocol):
    """One live runner, started or adopted."""

    @property
    def mark(self) -> Mark: ...

    async def ended(self) -> Exit:
        """Return once every process of the sandbox is confirmed dead. May be awaited by many, safe to cancel."""
        ...

    async def kill(self) -> None:
        """Kill every process and return when their death is confirmed, else raise `Broken` after 5 s."""
        ...

    async def usage(self) -> Usage: ...


class Runtime(Protocol):
    """One way of running a sandbox. Blocking work happens off the event loop."""

    async def probe(self) -> Probe:
        """Try the real thing once, cheaply; never raises."""
        ...

    async def start(self, launch: Launch) -> Sandbox:
        """Start a runner and return when its mark is known.

        Raises `NeedsUser` with the fix when something is missing, `Transient` when the machine is
        short of something; then nothing of it is left running. The same holds when cancelled.
        """
        ...

    async def adopt(self, mark: Mark) -> Sandbox | None:
        """The live sandbox of this mark, or None when its death is certain; raises `Broken` when neither is."""
        ...

    async def list(self) -> list[Mark]:
        """Every live sandbox of this runtime and install, known or stray."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What every runtime of one install is opened with."""

    install: InstallId
    identity: Identity
    source: Path
    """Folder that holds the package salver_runner, bytecode compiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSpec:
    """What a runtime's file exports as `RUNTIME`."""

    name: str
    title: str
    open: Callable[[Site], AbstractAsyncContextManager[Runtime]]
    """Closing ends the runtime's own loops and handles; the sandboxes live on."""


def discover() -> dict[str, RuntimeSpec]:
    """The runtimes that this build has, by name."""
    found: dict[str, RuntimeSpec] = {}
    for module in pkgutil.iter_modules(__path__):
        spec = getattr(importlib.import_module(f"{__name__}.{module.name}"), "RUNTIME", None)
        if isinstance(spec, RuntimeSpec):
            found[spec.name] = spec
    return found
