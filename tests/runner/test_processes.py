import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from salver_runner.processes import descendants, end_descendants, reap_orphans

pytestmark = pytest.mark.usefixtures("foster_parent")

GROW = """
import os, sys, time
def grow(depth):
    if depth and not os.fork():
        os.setsid()
        grow(depth - 1)
    if not depth:
        print(os.getpid(), flush=True)
    if depth % 2:
        os._exit(0)
    time.sleep(1000)
grow(int(sys.argv[1]))
"""
"""A chain of daemons: each in a session of its own, every other one gone as soon as it has a child."""


def grow(depth: int) -> tuple["subprocess.Popen[str]", int]:
    """The head of a chain of so many daemons, and the pid of the last one."""
    head = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", GROW, str(depth)], stdout=subprocess.PIPE, text=True
    )
    assert head.stdout
    with head.stdout as pipe:
        return head, int(pipe.readline())


def test_whatever_left_its_group_and_its_parents_is_still_found_and_ended() -> None:
    head, last = grow(5)
    assert last in descendants(os.getpid())
    end_descendants()
    assert descendants(os.getpid()) == []
    reap_orphans(spare=head.pid)
    head.wait()
    assert not psutil.pid_exists(last)


def test_the_spared_child_is_left_to_who_waits_for_it() -> None:
    child = subprocess.Popen(["/bin/sh", "-c", "exit 7"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert child.pid in descendants(os.getpid(), ended=True)
    reap_orphans(spare=child.pid)
    assert child.wait() == 7


def test_ended_orphans_are_collected() -> None:
    head, last = grow(1)
    assert head.wait() == 0
    os.kill(last, 9)
    os.waitid(os.P_PID, last, os.WEXITED | os.WNOWAIT)
    assert descendants(os.getpid(), ended=True) == [last]
    reap_orphans(spare=None)
    assert descendants(os.getpid(), ended=True) == []


def test_a_process_with_a_name_made_to_confuse_is_found(tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([program, "1000"])
    assert descendants(os.getpid()) == [child.pid]
    end_descendants()
    assert child.wait() == -9


def test_nothing_below_is_nothing_to_end() -> None:
    assert descendants(os.getpid()) == []
    end_descendants()
    reap_orphans(spare=None)
