"""The filter of system calls: what it refuses, and what ordinary programs go on doing."""

import errno
import os
import platform
from collections.abc import Mapping
from pathlib import Path

import pytest

from salver_server.runtimes import Runtime
from salver_server.runtimes.process import open_process, seccomp
from tests.fakes.yard import Yard, report
from tests.server.runtimes.filters import ERRNO_MASK, answer

NUMBERS = {
    kind: {
        **{name: row[column] for name, *row in seccomp.REFUSED},
        **{name: getattr(machine, name) for name in ("clone", "clone3", "unshare", "ioctl", "socket")},
    }
    for column, (kind, machine) in enumerate(seccomp.MACHINES.items())
}
