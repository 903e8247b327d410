import ctypes
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from salver_runner.processes import PR_SET_CHILD_SUBREAPER, adopt_orphans
from salver_runner.turn import Turn
from tests.runner.bus import Bus


@pytest.fixture
def bus() -> Iterator[Bus]:
    with tempfile.TemporaryDirectory(prefix="bus-") as root:  # sockets want short paths
        yield Bus(Path(root))


Job = Callable[[Turn], Awaitable[Any]]


@dataclass
class Scripted:
    """A provider for one test."""

    turn: Job


@dataclass
class Compacting(Scripted):
    """The same, which can also compact."""

    compact: Job


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Makes a function the turn of a provider, another one its compaction; returns the provider's name."""

    def provide(turn: Job, compact: Job | None = None) -> str:
        module = ModuleType("salver_runner.providers.scripted")
        module.__dict__["PROVIDER"] = Compacting(turn, compact) if compact else Scripted(turn)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return "scripted"

    return provide


@pytest.fixture
def foster_parent() -> Iterator[None]:
    """This process adopts orphans, as a runner does, until the test has ended."""
    adopt_orphans()
    yield
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture(autouse=True)
def no_inotify_is_left() -> Iterator[None]:
    """A runner keeps its inotify for life; a test that played one gives it back."""
    before = set(_inotifies())
    yield
    for descriptor in set(_inotifies()) - before:
        os.close(descriptor)


def _inotifies() -> Iterator[int]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if "inotify" in str(entry.readlink()):
                yield int(entry.name)
        except FileNotFoundError:
            continue  # the descriptor of this very look
