"""What processes use: memory as their proportional share, CPU as the kernel counted it."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from salver_server.settings import container

RUNNER = (
    "import pathlib, sys; sys.path.insert(0, sys.argv.pop()); root = pathlib.Path(sys.argv.pop()); "
    "from salver_runner.__main__ import main; sys.exit(main(root))"
)
RECORD: dict[str, object] = {
    "protocol": 1,
    "session": "ses-bench",
    "generation": 1,
    "epoch": 1,
    "read": 0,
    "agent": "salver",
    "provider": "demo",
    "models": [],
    "instructions": "",
    "token": "",
    "limits": {"rounds": 50, "seconds": 900},
    "surroundings": {
        "base": "",
        "skills": [],
        "web": "none",
        "memory_mb": 1024,
        "processes": 256,
        "disk_mb": 4096,
    },
    "attempts": {},
    "failpoint": "",
}


def core(server: int) -> list[int]:
    """The server and its own helpers: the processes that read what sandboxes have written."""
    return [server, *(child.pid for child in _children(server) if _reads(child))]


def sandboxes(server: int) -> list[list[int]]:
    """The processes of each sandbox below a server."""
    return [
        [child.pid, *(it.pid for it in _children(child.pid, recursive=True))]
        for child in _children(server)
        if not _reads(child)
    ]


def _children(pid: int, *, recursive: bool = False) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=recursive)
    return []


def _reads(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return any(word.endswith("reader.py") for word in process.cmdline())
    return False


def memory(pids: Sequence[int]) -> float:
    """MB that these processes take, what they share with others counted in part."""
    return sum(_pss(pid) for pid in pids)


async def cpu(*groups: Sequence[int], seconds: float) -> list[float]:
    """Percent of one core that each of these groups of processes takes over so many seconds."""
    before, began = [worked(pids) for pids in groups], time.perf_counter()
    await asyncio.sleep(seconds)
    lasted = time.perf_counter() - began
    return [
        (worked(pids) - earlier) / lasted * 100
        for pids, earlier in zip(groups, before, strict=True)
    ]


async def runner_alone(root: Path) -> float:
    """MB of a runner that waits for its first message, outside any sandbox."""
    for name in ("in", "out", "home", "line"):
        (root / name).mkdir()
    (root / "in" / "launch.json").write_text(json.dumps(RECORD), encoding="utf-8")
    argv = [sys.executable, "-I", "-S", "-c", RUNNER, "serve", str(root), str(container())]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as runner:  # noqa: ASYNC220  a spawn is quick
        try:
            await asyncio.sleep(1)
            return _pss(runner.pid)
        finally:
            runner.kill()


def _pss(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def worked(pids: Sequence[int]) -> float:
    """Seconds on a CPU so far, of every thread that lives or has lived."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            fields = stat.rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
