"""Limits that the kernel itself counts for a whole sandbox, where this server may make cgroups.

Version 1 keeps one tree for each resource, version 2 one for all. A sandbox's group bears its name,
so that a later server finds it; it's removed after the sandbox's death.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from salver_server.runtimes.process.marks import Label

Version = Literal[1, 2]

PREFIX = "salver:"
OUTER = 1
"""Bubblewrap's own process outside of the sandbox is in its group as well."""
YOUNG = 60.0
"""Seconds for which an empty group may belong to a sandbox that's being made."""
LEAVING = 0.5
"""Seconds until a group is empty; the kernel lets go of the dead a little later than it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where groups may be made: a folder for each resource, the same one in version 2."""

    version: Version
    memory: Path | None
    processes: Path | None

    def folders(self) -> set[Path]:
        return {place for place in (self.memory, self.processes) if place}


NOWHERE = Places(version=2, memory=None, processes=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One sandbox's groups; None where the kernel doesn't count that for us."""

    version: Version
    memory: Path | None
    processes: Path | None

    def attach(self, pid: int) -> None:
        for folder in self.folders():
            _set(folder / "cgroup.procs", pid)

    def overruns(self) -> int:
        """How many of its processes the kernel killed for memory."""
        if self.memory is None:
            return 0
        file = "memory.oom_control" if self.version == 1 else "memory.events"
        return _field(self.memory / file, "oom_kill") or 0

    def memory_used(self) -> int | None:
        """Without what the kernel only remembers of files and would drop at once."""
        if self.memory is None:
            return None
        whole, file, cached = (
            ("memory.usage_in_bytes", "memory.stat", "total_inactive_file")
            if self.version == 1
            else ("memory.current", "memory.stat", "inactive_file")
        )
        used = _number(self.memory / whole)
        return None if used is None else used - (_field(self.memory / file, cached) or 0)

    def processes_used(self) -> int | None:
        counted = _number(self.processes / "pids.current") if self.processes else None
        return counted and max(counted - OUTER, 0)

    def remove(self, *, within: float = LEAVING) -> None:
        """After the sandbox's death; what can't be removed in that time is swept later."""
        patience = time.monotonic() + within
        for folder in self.folders():
            while not _removed(folder) and time.monotonic() < patience:
                time.sleep(0.01)

    def folders(self) -> set[Path]:
        return {folder for folder in (self.memory, self.processes) if folder}


def make(places: Places, label: Label) -> Group:
    """A group of the label's name and limits; raises OSError when the kernel won't have it."""
    group = named(places, label)
    try:
        for folder in group.folders():
            folder.mkdir(exist_ok=True)
        if group.processes:
            _set(group.processes / "pids.max", label.processes + OUTER)
        if group.memory:
            _limit_memory(group.memory, label.memory, version=group.version)
    except OSError:
        group.remove()
        raise
    return group


def named(places: Places, label: Label) -> Group:
    """The group that the label's sandbox has if it was made here."""
    name = f"{PREFIX}{_plain(label.install)}:{_plain(label.session)}:{label.generation}"
    return Group(
        version=places.version,
        memory=places.memory and places.memory / name,
        processes=places.processes and places.processes / name,
    )


def sweep(places: Places, now: datetime) -> None:
    """Remove what sandboxes that ended while nobody watched have left, of any install.

    A group with a process in it can't be removed; one that's empty but young may yet get its first.
    """
    for place in places.folders():
        for folder in place.glob(f"{PREFIX}*"):
            with suppress(FileNotFoundError):
                if now.timestamp() - folder.stat().st_mtime > YOUNG:
                    _removed(folder)


def find(own: str, mounts: str) -> Places:
    """Where we may make groups, told by the texts of /proc/self/cgroup and /proc/self/mountinfo."""
    roots = dict(_mounted(mounts))
    if unified := roots.get("cgroup2"):
        place = _delegated(unified, own)
        if place:
            return Places(version=2, memory=place, processes=place)
    memory, processes = roots.get("memory"), roots.get("pids")
    return Places(
        version=1,
        memory=memory if memory and os.access(memory, os.W_OK) else None,
        processes=processes if processes and os.access(processes, os.W_OK) else None,
    )


def _mounted(mounts: str) -> Iterator[tuple[str, Path]]:
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split()
        place = Path(left.split()[4])
        if kind == "cgroup2":
            yield kind, place
        elif kind == "cgroup":
            for controller in options.split(","):
                yield controller, place


def _delegated(unified: Path, own: str) -> Path | None:
    """The nearest group above our own whose children are counted, and that we may add one to.

    Moving a process takes the right to write in every group up to the common ancestor, which this
    is; and a group whose children are counted holds no processes, so it's never our own.
    """
    path = next((line.removeprefix("0::/") for line in own.splitlines() if line[:4] == "0::/"), "")
    if path.startswith(".."):
        return None  # above what this container may see
    here = unified / path
    for place in (here, *here.parents):
        if not place.is_relative_to(unified):
            break
        counted = _text(place / "cgroup.subtree_control").split()
        if {"memory", "pids"} <= set(counted):
            writable = os.access(place, os.W_OK) and os.access(place / "cgroup.procs", os.W_OK)
            return place if writable else None
    return None


def _limit_memory(folder: Path, limit: int, *, version: Version) -> None:
    if version == 1:
        swap, most = folder / "memory.memsw.limit_in_bytes", limit
        # A group that is still there may have a lower one, which memory alone must not pass.
        with suppress(FileNotFoundError):
            _set(swap, -1)
        _set(folder / "memory.limit_in_bytes", limit)
    else:
        _set(folder / "memory.max", limit)
        swap, most = folder / "memory.swap.max", 0
    # Absent where the kernel doesn't count swap; then it's none of ours either.
    with suppress(FileNotFoundError):
        _set(swap, most)


def _set(file: Path, value: int) -> None:
    # Opened without O_CREAT: a file that the kernel doesn't offer must not come to be.
    with file.open("r+b", buffering=0) as opened:
        opened.write(str(value).encode())


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdigit() else None


def _field(file: Path, name: str) -> int | None:
    for line in _text(file).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return None
