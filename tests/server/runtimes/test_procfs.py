"""What /proc tells of processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from salver_server.runtimes import MIB
from salver_server.runtimes.process import procfs
from salver_server.runtimes.process.procfs import Process

TREE = """
import os, sys, threading, time
ballast = os.urandom(1 << 20) * 20
for _ in range(2):
    if os.fork() == 0:
        break
else:
    threading.Thread(target=time.sleep, args=[30], daemon=True).start()
    print("ready", flush=True)
time.sleep(30)
"""


def test_a_process_knows_its_parent_and_its_start() -> None:
    me = procfs.process(os.getpid())
    assert me
    assert me.parent == os.getppid()
    assert me.threads >= 1
    assert me.resident > MIB
    parent = procfs.process(me.parent)
    assert parent
    assert parent.started <= me.started


def test_a_name_may_hold_anything(tmp_path: Path) -> None:
    odd = tmp_path / ") R 1 (\n"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([str(odd), "30"]) as sleeper:
        found = procfs.process(sleeper.pid)
        assert found
        assert found.parent == os.getpid()
        sleeper.kill()


def test_the_dead_are_gone_even_before_they_are_buried() -> None:
    with subprocess.Popen(["/bin/true"], stdout=subprocess.PIPE) as brief:
        assert brief.stdout
        brief.stdout.read()
        os.waitid(os.P_PID, brief.pid, os.WEXITED | os.WNOWAIT)
        assert procfs.process(brief.pid) is None
    assert procfs.process(brief.pid) is None


def test_a_family_is_all_that_descends() -> None:
    with subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE) as root:
        assert root.stdout
        root.stdout.readline()
        family = procfs.family(root.pid)
        assert family[0].pid == root.pid
        assert len(family) == 3
        assert family == procfs.below(root.pid, {one.pid: one for one in family})
        # Twenty megabytes that three share are twenty, not sixty.
        assert 20 * MIB < procfs.memory(family) < 45 * MIB
        assert procfs.memory(family, most=1 << 40) > 60 * MIB
        for one in family:
            os.kill(one.pid, 9)


def test_a_family_is_found_by_parents_alone() -> None:
    def process(pid: int, parent: int) -> Process:
        return Process(pid=pid, parent=parent, cpu=0, threads=1, started=0, resident=0)

    table = {pid: process(pid, parent) for pid, parent in [(1, 0), (5, 1), (6, 5), (7, 6), (8, 1)]}
    assert {one.pid for one in procfs.below(5, table)} == {5, 6, 7}
    assert procfs.below(9, table) == []


@pytest.mark.parametrize("pid", [2**22 - 1])
def test_who_never_was_has_no_family(pid: int) -> None:
    assert procfs.family(pid) == []


def test_the_boot_has_a_name() -> None:
    assert len(procfs.boot()) == 36
