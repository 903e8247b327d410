"""How much of the disk folders take, whatever their owner has made of them."""

import os
import subprocess
from pathlib import Path

import pytest

from salver_server.runtimes import MIB
from salver_server.runtimes.process import disk

PLENTY = 1 << 40


def fill(file: Path, size: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(os.urandom(size))


def test_all_folders_count_together(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "one", 3 * MIB)
    fill(tmp_path / "b" / "deep" / "down" / "two", 2 * MIB)
    used = disk.used([tmp_path / "a", tmp_path / "b", tmp_path / "gone"], enough=PLENTY)
    assert 5 * MIB <= used < 5.1 * MIB


def test_counting_ends_once_it_is_enough(tmp_path: Path) -> None:
    for number in range(100):
        fill(tmp_path / str(number), MIB // 10)
    assert MIB < disk.used([tmp_path], enough=MIB) < 1.2 * MIB


def test_holes_take_nothing_and_empty_files_take_something(tmp_path: Path) -> None:
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    for number in range(99):
        (tmp_path / f"{number}").touch()
    assert disk.used([tmp_path], enough=PLENTY) == 100 * disk.ENTRY


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    fill(tmp_path / "one", MIB)
    (tmp_path / "other").hardlink_to(tmp_path / "one")
    assert disk.used([tmp_path], enough=PLENTY) < 1.1 * MIB


def test_no_link_is_followed(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere" / "big", MIB)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    (folder / "file").symlink_to(tmp_path / "elsewhere" / "big")
    (folder / "around").symlink_to(folder)
    assert disk.used([folder], enough=PLENTY) == 3 * disk.ENTRY


def test_a_workspace_may_itself_be_a_link(tmp_path: Path) -> None:
    fill(tmp_path / "project" / "big", MIB)
    (tmp_path / "work").symlink_to(tmp_path / "project")
    assert disk.used([tmp_path / "work"], enough=PLENTY) >= MIB


def test_other_file_systems_do_not_count(tmp_path: Path) -> None:
    if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to try it with")
    assert disk.used([Path("/dev")], enough=PLENTY) < 100 * MIB


def test_pipes_and_devices_stop_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert disk.used([tmp_path], enough=PLENTY) == disk.ENTRY


def test_nothing_can_be_hidden_in_the_depths(tmp_path: Path) -> None:
    bottom = tmp_path.joinpath(*["d"] * (disk.DEEPEST + 5))
    fill(bottom / "big", MIB)
    assert MIB <= disk.used([tmp_path], enough=PLENTY) < 2 * MIB
    assert not leaked(tmp_path)


def test_nothing_can_be_hidden_behind_closed_doors(tmp_path: Path) -> None:
    fill(tmp_path / "closed" / "big", MIB)
    fill(tmp_path / "open", MIB)
    (tmp_path / "closed").chmod(0)
    try:
        assert 2 * MIB <= disk.used([tmp_path], enough=PLENTY) < 2.1 * MIB
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_folders_that_come_and_go_meanwhile_are_no_trouble(tmp_path: Path) -> None:
    churn = """
i=0
while [ $i -lt 50 ]; do
  mkdir -p a/b/c; touch a/b/c/x; ln -sfn / link; rm -rf a; ln -s / a; rm a; i=$((i+1))
done
"""
    with subprocess.Popen(["/bin/sh", "-c", churn], cwd=tmp_path) as churning:
        while churning.poll() is None:
            assert disk.used([tmp_path], enough=PLENTY) < MIB


def leaked(place: Path) -> list[Path]:
    handles = (handle for handle in Path("/proc/self/fd").iterdir() if handle.is_symlink())
    return [target for handle in handles if (target := handle.readlink()).is_relative_to(place)]
