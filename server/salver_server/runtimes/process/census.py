"""Every labelled sandbox on this machine, whether a database knows it or not.

Believed is the label of the outer bubblewrap, whose memory lies outside: that of the init any program
inside can overwrite. Where the outer one is dead, the init's own says whose it is and nothing else.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from salver_server.runtimes.process import marks, procfs
from salver_server.runtimes.process.marks import Label
from salver_server.runtimes.process.procfs import PROC, Process


def labelled() -> Iterator[tuple[Process, Label]]:
    """The init of each. Blocking, some 20 ms."""
    told = {pid: label for pid in procfs.pids() if (label := _label(pid))}
    outers = {pid: label for pid, label in told.items() if _is_outer(pid)}
    inside = {child for pid in outers for child in _children(pid)} | told.keys()
    for pid in inside - outers.keys():
        if _is_init(pid) and (one := procfs.process(pid)):
            if label := outers.get(one.parent):
                yield one, label
            elif label := told.get(pid):
                yield one, replace(label, folders=(), log=Path(os.devnull))


def _label(pid: int) -> Label | None:
    try:
        line = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None
    if marks.PREFIX.encode() not in line:
        return None
    found = (marks.read(os.fsdecode(argument)) for argument in line.split(b"\0"))
    return next((label for label in found if label), None)


def _children(pid: int) -> list[int]:
    try:
        return procfs.children(pid, threads=1)
    except NotImplementedError:
        return []  # found by their own labels, then


def _is_outer(pid: int) -> bool:
    """Whether it's one of our own user's, and in our own namespace."""
    status = _status(pid)
    return len(status.get("NSpid", ())) == 1 and status["Uid"][1] == str(os.geteuid())


def _is_init(pid: int) -> bool:
    """Whether it's the first process of a namespace right below ours."""
    own = _status(pid).get("NSpid", ())
    return len(own) == 2 and own[1] == "1"


def _status(pid: int) -> dict[str, list[str]]:
    try:
        text = (PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.splitlines())
    return {name: words.split() for name, _, words in lines if name in ("NSpid", "Uid")}
