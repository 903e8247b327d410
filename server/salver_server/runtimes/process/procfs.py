"""What /proc tells of processes: their family, their start, what they use. Blocking, but quick."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
PAGE = os.sysconf("SC_PAGE_SIZE")
TMPFS = ("tmp", "dev/shm", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    pid: int
    parent: int
    cpu: int
    """Clock ticks, those of its ended children included."""
    threads: int
    started: int
    """Clock ticks since boot."""
    resident: int
    """Bytes, shared ones included."""


def boot() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def process(pid: int) -> Process | None:
    """None once it has ended, also while its parent hasn't yet asked how."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold anything, so counting starts after it.
    state, *numbers = text.rpartition(")")[2].split()
    if state in "ZX":
        return None
    return Process(
        pid=pid,
        parent=int(numbers[0]),
        cpu=sum(int(ticks) for ticks in numbers[10:14]),
        threads=int(numbers[16]),
        started=int(numbers[18]),
        resident=int(numbers[20]) * PAGE,
    )


def family(init: int) -> list[Process]:
    """Every process of the namespace whose init this is: its orphans become children of init."""
    found: list[Process] = []
    ahead = [init]
    while ahead:
        pid = ahead.pop()
        if one := process(pid):
            found.append(one)
            try:
                ahead += children(pid, threads=one.threads)
            except NotImplementedError:
                return below(init, everyone())
    return found


def children(pid: int, *, threads: int) -> list[int]:
    """Raises NotImplementedError where the kernel keeps no such lists."""
    tasks = PROC / str(pid) / "task"
    found: list[int] = []
    try:
        for name in [str(pid)] if threads == 1 else os.listdir(tasks):  # noqa: PTH208  three times as fast
            found += map(int, (tasks / name / "children").read_text(encoding="ascii").split())
    except (FileNotFoundError, ProcessLookupError):
        if (tasks / str(pid)).exists() and not (tasks / str(pid) / "children").exists():
            raise NotImplementedError from None
    return found


def everyone() -> dict[int, Process]:
    return {pid: one for pid in pids() if (one := process(pid))}


def below(root: int, table: Mapping[int, Process]) -> list[Process]:
    """A process and all its descendants, by who is whose parent."""
    offspring: dict[int, list[Process]] = {}
    for one in table.values():
        offspring.setdefault(one.parent, []).append(one)
    found = [table[root]] if root in table else []
    for one in found:
        found += offspring.get(one.pid, [])
    return found


def pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208  three times as fast here, too


def memory(family: Sequence[Process], *, most: int = 0) -> int:
    """Bytes that processes take, those that they share counted once.

    Telling shared pages from own ones is slow, and needless while all together stay below `most`.
    """
    rough = sum(one.resident for one in family)
    return rough if rough <= most else sum(map(_proportional, family))


def prints_to(pid: int, file: Path) -> bool:
    """Whether the process has this very file as its standard output."""
    try:
        return (PROC / str(pid) / "fd/1").samefile(file)
    except OSError:
        return False


def _proportional(one: Process) -> int:
    """Its memory, with shared pages split fairly among those who share them."""
    try:
        with (PROC / str(one.pid) / "smaps_rollup").open(encoding="ascii") as lines:
            return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except OSError:
        # What can't be looked into is taken for all its own.
        return one.resident


def scratch(init: int) -> int:
    """Bytes in the sandbox's file systems in memory, which no process's own figures show."""
    used = 0
    for name in TMPFS:
        try:
            system = os.statvfs(PROC / str(init) / "root" / name)
        except OSError:
            continue
        used += (system.f_blocks - system.f_bfree) * system.f_frsize
    return used


def available() -> int:
    """Bytes of memory that this machine could still give away."""
    with (PROC / "meminfo").open(encoding="ascii") as lines:
        return (
            next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
        )
