"""Which limit is held by what."""

from pathlib import Path

import pytest

from salver_server.runtimes import Limits
from salver_server.runtimes.process.cgroups import NOWHERE, Places
from salver_server.runtimes.process.limits import CROWD, Plan, for_each_process, plan

HERE = Path("/sys/fs/cgroup")


def test_the_kernel_counts_for_a_whole_sandbox_where_it_may() -> None:
    places = Places(version=2, memory=HERE, processes=HERE)
    assert plan(places, own_namespace=True, kernel="6.1.0-13-amd64") == Plan(
        memory="cgroup v2", processes="cgroup v2"
    )
    halves = Places(version=1, memory=HERE, processes=None)
    assert plan(halves, own_namespace=False, kernel="6.1.0") == Plan(
        memory="cgroup v1", processes="watchdog"
    )


@pytest.mark.parametrize(
    ("kernel", "own_namespace", "holder"),
    [
        ("6.18.44-fc-v657", True, "user namespace"),
        ("5.14.0", True, "user namespace"),
        ("5.10.0-28-amd64", True, "watchdog"),
        ("6.1.0-13-amd64", False, "watchdog"),
    ],
)
def test_else_a_user_namespace_counts_processes_if_there_is_one(
    kernel: str, own_namespace: bool, holder: str
) -> None:
    assert plan(NOWHERE, own_namespace=own_namespace, kernel=kernel).processes == holder


def test_where_we_count_processes_all_sandboxes_share_a_wide_limit() -> None:
    watched = Plan(memory="watchdog", processes="watchdog")
    assert for_each_process(Limits(processes=10), watched, hard={})["nproc"] == CROWD
    assert for_each_process(Limits(processes=10), watched, hard={"nproc": 99})["nproc"] == 99


def test_every_limit_is_said_to_be_held_by_something() -> None:
    words = Plan(memory="watchdog", processes="watchdog").in_words()
    assert set(words) == {"memory", "processes", "file", "disk", "tmp"}
    assert all(words.values())
