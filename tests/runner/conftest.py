import ctypes
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from salver_runner.processes import PR_SET_CHILD_SUBREAPER, adopt_orphans
from tests.runner.bus import Bus


@pytest.fixture
def bus() -> Iterator[Bus]:
    with tempfile.TemporaryDirectory(prefix="bus-") as root:  # sockets want short paths
        yield Bus(Path(root))


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
