"""What a sandbox is known by: a label on its command line, a handle that proves which one it is.

The label lets a later server find it through /proc, even one that no database knows. The handle
adds what no other process on this machine can ever share: pid, start time and boot.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from salver_server.errors import Broken
from salver_server.ids import InstallId, SessionId
from salver_server.runtimes import Launch, Mark

RUNTIME_NAME = "process"
PREFIX = "salver-sandbox:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Whose sandbox it is, and what the watchdog must know to go on watching it."""

    install: InstallId
    session: SessionId
    generation: int
    memory: int
    processes: int
    disk: int
    folders: tuple[Path, ...]
    """Counted against `disk`."""
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Handle:
    boot: str
    """The boot that pid and start time belong to."""
    pid: int
    """Of the namespace's init, as the server sees it."""
    started: int
    """In clock ticks since boot; tells the process from a later one of the same pid."""
    label: Label


LABELS = TypeAdapter(Label)
HANDLES = TypeAdapter(Handle)


def label(launch: Launch) -> Label:
    return Label(
        install=launch.install,
        session=launch.session,
        generation=launch.generation,
        memory=launch.limits.memory,
        processes=launch.limits.processes,
        disk=launch.limits.disk,
        folders=(launch.work, launch.home, launch.outbox),
        log=launch.log,
    )


def owner(it: Label) -> tuple[InstallId, SessionId, int]:
    """Whose sandbox it is, and which of them in turn."""
    return it.install, it.session, it.generation


def written(it: Label) -> str:
    """One argument of a command line."""
    return PREFIX + LABELS.dump_json(it).decode()


def read(argument: str) -> Label | None:
    """The label that an argument holds, if it's one of ours; anyone may forge one."""
    if not argument.startswith(PREFIX):
        return None
    try:
        return LABELS.validate_json(argument.removeprefix(PREFIX))
    except ValidationError:
        return None


def mark(handle: Handle) -> Mark:
    return Mark(
        runtime=RUNTIME_NAME,
        session=handle.label.session,
        generation=handle.label.generation,
        handle=HANDLES.dump_json(handle).decode(),
    )


def handle(it: Mark) -> Handle:
    if it.runtime != RUNTIME_NAME:
        raise Broken(f"Session {it.session}'s sandbox belongs to the runtime {it.runtime}.")
    try:
        found = HANDLES.validate_json(it.handle)
    except ValidationError as exc:
        raise Broken(f"The mark of session {it.session}'s sandbox can't be read.") from exc
    if (found.label.session, found.label.generation) != (it.session, it.generation):
        raise Broken(f"The mark of session {it.session}'s sandbox names another sandbox.")
    return found
