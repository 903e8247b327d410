"""Whether the sandbox of a handle still lives: certain, since pids come again but never so started."""

import errno
import os
from dataclasses import dataclass

from salver_server.errors import Broken
from salver_server.runtimes.process import procfs
from salver_server.runtimes.process.marks import Handle
from salver_server.runtimes.process.pidfd import Process

NOBODY = {errno.ESRCH, errno.ENOENT, errno.EINVAL}
"""No process has the pid, though a thread may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    init: Process
    outer: Process | None
    """Its bubblewrap, where that's a child of this very process, and so tells the exit code."""

    def close(self) -> None:
        self.init.close()
        if self.outer:
            self.outer.close()


def found(handle: Handle) -> Found | None:
    """None when it's dead; raises `Broken` when that can't be told. Blocking."""
    try:
        # Opened before the look, so that what is looked at is what has been opened.
        init = _opened(handle.pid)
        if init is None:
            return None
        try:
            one = procfs.process(handle.pid)
            if one and one.started == handle.started:
                return Found(init=init, outer=_child(one.parent))
        except BaseException:
            init.close()
            raise
        init.close()
        return None
    except OSError as exc:
        session = handle.label.session
        raise Broken(f"Cannot tell whether the sandbox of session {session} lives: {exc}") from exc


def _opened(pid: int) -> Process | None:
    try:
        return Process(os.pidfd_open(pid))
    except OSError as exc:
        if exc.errno in NOBODY:
            return None
        raise


def _child(pid: int) -> Process | None:
    one = procfs.process(pid)
    return _opened(pid) if one and one.parent == os.getpid() else None
