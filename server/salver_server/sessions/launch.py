"""The launch record: what a runner is told once, in in/launch.json."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from salver_server.accounts import Choice, Model
from salver_server.agents import Definition, Skill, Standing
from salver_server.runtimes import MIB, Identity, Limits
from salver_server.sessions.folders import give
from salver_server.sessions.line import PROTOCOL
from salver_server.sessions.store import Handover, Session


def record(
    session: Session,
    definition: Definition,
    choice: Choice,
    *,
    generation: int,
    token: str,
    pending: list[Handover],
    failpoint: str,
    version: str = "",
    base: str = "",
    skills: Sequence[Skill] = (),
) -> dict[str, object]:
    """The fields that the runner's `launch.py` reads."""
    return {
        "protocol": PROTOCOL,
        "session": session.id,
        "generation": generation,
        "epoch": session.epoch,
        "read": session.read_seq,
        "agent": definition.name,
        "provider": choice.runner,
        "models": [_model(model) for model in choice.models],
        "instructions": definition.instructions,
        "token": token,
        "limits": {"rounds": definition.limits.rounds, "seconds": definition.limits.seconds},
        "surroundings": {
            "base": base,
            "skills": [{"name": it.name, "description": it.description} for it in skills],
            "web": definition.web,
            "memory_mb": definition.limits.memory_mb,
            "processes": definition.limits.processes,
            "disk_mb": definition.limits.disk_mb,
        },
        "attempts": {str(row.seq): row.attempts for row in pending if row.attempts > 0},
        "failpoint": failpoint,
        "version": version,
    }


def _model(model: Model) -> dict[str, object]:
    return {
        "provider": model.account.provider,
        "wire": model.wire,
        "model": model.name,
        "window": model.window,
        "sees": model.sees,
    }


def write(path: Path, fields: dict[str, object], identity: Identity) -> None:
    """Replace the record at `path`, readable by the sandbox's user alone."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(
        os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        json.dump(fields, file)
    give(fresh, identity)
    fresh.replace(path)


def meant(standing: Standing, session: Session) -> Standing:
    """The agent with what was chosen for this session in place of what its AGENT.md says."""
    if not session.model:
        return standing
    provider, _, model = session.model.partition("/")
    chosen = {"provider": provider, "model": model}
    definition = standing.definition.model_copy(update=chosen)
    return replace(standing, definition=definition)


def version_of(told: str, choice: Choice) -> str:
    """Tells apart what runners are told and run with; in the record for whoever adopts the runner."""
    return hashlib.sha256(f"{choice.version}\0{told}".encode()).hexdigest()


def version_in(path: Path) -> str:
    """The version that the runner of this record was started with; empty where none can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError):
        return ""


def limits(definition: Definition) -> Limits:
    bounds = definition.limits
    return Limits(
        memory=bounds.memory_mb * MIB,
        processes=bounds.processes,
        file=bounds.file_mb * MIB,
        disk=bounds.disk_mb * MIB,
        tmp=bounds.tmp_mb * MIB,
    )
