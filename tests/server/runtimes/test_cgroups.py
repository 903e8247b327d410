"""Where groups may be made, and what is written into them; the kernel's part is a folder here."""

from datetime import timedelta
from pathlib import Path

import pytest

from salver_server.clock import SystemClock
from salver_server.ids import InstallId, SessionId
from salver_server.runtimes.process import cgroups
from salver_server.runtimes.process.cgroups import NOWHERE, Places
from salver_server.runtimes.process.marks import Label

LABEL = Label(
    install=InstallId("house"),
    session=SessionId("s-1"),
    generation=3,
    memory=1000,
    processes=20,
    disk=0,
    folders=(),
    log=Path("/log"),
)
NAME = "salver:house:s-1:3"


def mount(kind: str, place: Path, options: str = "rw") -> str:
    return f"30 24 0:26 / {place} rw,relatime shared:9 - {kind} {kind} {options}\n"


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """A tree of version 2 as systemd leaves it to a user: app.slice is his, user.slice is not."""
    root = tmp_path / "cgroup"
    for path, counted in {
        "": "cpu memory pids",
        "user.slice": "cpu memory pids",
        "user.slice/app.slice": "memory pids",
        "user.slice/app.slice/salver.scope": "",
    }.items():
        (root / path).mkdir(exist_ok=True)
        (root / path / "cgroup.subtree_control").write_text(f"{counted}\n", encoding="ascii")
        (root / path / "cgroup.procs").touch()
    return root


def test_version_2_takes_the_nearest_group_that_counts(unified: Path) -> None:
    own = "0::/user.slice/app.slice/salver.scope\n"
    place = unified / "user.slice" / "app.slice"
    assert cgroups.find(own, mount("cgroup2", unified)) == Places(
        version=2, memory=place, processes=place
    )


def test_version_2_does_without_where_nothing_is_counted(unified: Path) -> None:
    for file in unified.rglob("cgroup.subtree_control"):
        file.write_text("cpu\n", encoding="ascii")
    own = "0::/user.slice/app.slice/salver.scope\n"
    assert not cgroups.find(own, mount("cgroup2", unified)).folders()


def test_a_group_outside_of_what_is_mounted_here_is_none_of_ours(unified: Path) -> None:
    assert not cgroups.find("0::/../../elsewhere\n", mount("cgroup2", unified)).folders()
    assert not cgroups.find("0::/elsewhere\n", "").folders()


def test_version_1_has_a_tree_for_each_resource(tmp_path: Path) -> None:
    mounts = (
        mount("tmpfs", tmp_path)
        + mount("cgroup", tmp_path / "memory", "rw,memory")
        + mount("cgroup", tmp_path / "cpu,cpuacct", "rw,cpu,cpuacct")
        + mount("cgroup2", tmp_path / "unified")
    )
    (tmp_path / "memory").mkdir()
    found = cgroups.find("4:memory:/x\n0::/\n", mounts)
    assert found == Places(version=1, memory=tmp_path / "memory", processes=None)


def make_ready(place: Path, *files: str) -> None:
    """The kernel fills a new folder with files; here they're there before."""
    (place / NAME).mkdir(parents=True)
    for file in files:
        (place / NAME / file).touch()


def test_version_2_is_told_its_limits(tmp_path: Path) -> None:
    make_ready(tmp_path, "memory.max", "memory.swap.max", "pids.max", "cgroup.procs")
    group = cgroups.make(Places(version=2, memory=tmp_path, processes=tmp_path), LABEL)
    group.attach(77)
    assert contents(tmp_path / NAME) == {
        "memory.max": "1000",
        "memory.swap.max": "0",
        "pids.max": "21",
        "cgroup.procs": "77",
    }


def test_version_1_is_told_its_limits(tmp_path: Path) -> None:
    memory = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cgroup.procs")
    make_ready(tmp_path / "memory", *memory)
    make_ready(tmp_path / "pids", "pids.max", "cgroup.procs")
    places = Places(version=1, memory=tmp_path / "memory", processes=tmp_path / "pids")
    cgroups.make(places, LABEL).attach(77)
    assert contents(tmp_path / "memory" / NAME) == {
        "memory.limit_in_bytes": "1000",
        "memory.memsw.limit_in_bytes": "1000",
        "cgroup.procs": "77",
    }
    assert contents(tmp_path / "pids" / NAME) == {"pids.max": "21", "cgroup.procs": "77"}


def test_a_kernel_that_does_not_count_swap_will_do(tmp_path: Path) -> None:
    make_ready(tmp_path, "memory.max", "pids.max")
    cgroups.make(Places(version=2, memory=tmp_path, processes=tmp_path), LABEL)
    assert contents(tmp_path / NAME) == {"memory.max": "1000", "pids.max": "21"}


def test_a_kernel_that_refuses_leaves_no_group(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        cgroups.make(Places(version=2, memory=tmp_path, processes=tmp_path), LABEL)
    assert list(tmp_path.iterdir()) == []


def test_what_is_used_leaves_out_what_the_kernel_only_remembers(tmp_path: Path) -> None:
    make_ready(tmp_path)
    for file, text in {
        "memory.current": "900\n",
        "memory.stat": "anon 500\ninactive_file 300\nactive_file 100\n",
        "memory.events": "low 0\nmax 7\noom 2\noom_kill 1\n",
        "pids.current": "5\n",
    }.items():
        (tmp_path / NAME / file).write_text(text, encoding="ascii")
    group = cgroups.named(Places(version=2, memory=tmp_path, processes=tmp_path), LABEL)
    assert (group.memory_used(), group.processes_used(), group.overruns()) == (600, 4, 1)


def test_without_groups_nothing_is_known() -> None:
    group = cgroups.make(NOWHERE, LABEL)
    assert (group.memory_used(), group.processes_used(), group.overruns()) == (None, None, 0)
    group.attach(1)
    group.remove()


def test_a_sweep_takes_old_groups_that_are_empty(tmp_path: Path) -> None:
    for name in ("salver:house:s-1:1", "salver:house-2:s-1:1", "salver:house:s-2:1", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "salver:house:s-2:1" / "live").touch()
    places = Places(version=1, memory=tmp_path, processes=None)
    made = SystemClock().now()
    cgroups.sweep(places, made + timedelta(seconds=50))
    assert len([*tmp_path.iterdir()]) == 4
    cgroups.sweep(places, made + timedelta(seconds=70))
    assert {folder.name for folder in tmp_path.iterdir()} == {"salver:house:s-2:1", "other"}


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="ascii") for file in folder.iterdir()}
