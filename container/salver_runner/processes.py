"""Ending everything that a tool has started, also what left its group and its session."""

import ctypes
import os
import signal
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 0.8
"""Seconds within which the tree must be gone; a stop promises one second in all."""


def adopt_orphans() -> None:
    """Become the parent of orphaned grandchildren, so that none is ever out of reach."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants() -> None:
    """Kill every process below this one, again and again until none is left."""
    until = time.monotonic() + PATIENCE
    while (pids := descendants(os.getpid())) and time.monotonic() < until:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it ended by itself meanwhile
        time.sleep(0.002)


def reap_orphans(*, spare: int | None) -> None:
    """Collect ended children other than `spare`, which somebody else waits for."""
    for pid in descendants(os.getpid(), ended=True):
        if pid != spare:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue  # no direct child: its own parent will collect it


def descendants(root: int, *, ended: bool = False) -> list[int]:
    """Every process below `root` that lives, or that has `ended` and is not yet collected."""
    children: dict[int, list[int]] = {}
    zombies: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name stands in brackets and may hold anything, brackets included.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        pid = int(entry.name)
        children.setdefault(int(fields[1]), []).append(pid)
        if fields[0] == "Z":
            zombies.add(pid)
    found: list[int] = []
    level = [root]
    while level:
        level = [child for parent in level for child in children.get(parent, [])]
        found += level
    return [pid for pid in found if (pid in zombies) == ended]
