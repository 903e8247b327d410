"""What lives in a sandbox, as the computer around it sees it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil

from salver_server.runtimes.process import census


def init(session: str) -> int:
    """The first process of the session's sandbox; 0 while it has none."""
    return next((one.pid for one, label in census.labelled() if label.session == session), 0)


def everyone(session: str) -> list[psutil.Process]:
    """Every process in the session's sandbox, whatever it did to get away from its parent."""
    first = init(session)
    return list(_sharing(_namespace(first))) if first else []


def commands(session: str) -> list[str]:
    """The command line of each of them, without that of the sandbox's own init."""
    found: list[str] = []
    for process in everyone(session)[1:]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            found.append(" ".join(process.cmdline()))
    return found


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still live; another process under the same number does not count."""
    return [it for it in processes if it.is_running() and not _is_over(it)]


def _is_over(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _sharing(namespace: Path) -> Iterator[psutil.Process]:
    # Quicker than making a Process of each: this is looked at again and again.
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            if _namespace(pid) == namespace:
                yield psutil.Process(pid)


def _namespace(pid: int) -> Path:
    return Path("/proc", str(pid), "ns/pid").readlink()
