import errno
import os
import shutil
from pathlib import Path

import pytest

from salver_server.kit.reserve import HOLE, Reserve

SIZE = 100_000


@pytest.fixture
def path(quick_path: Path) -> Path:
    return quick_path / "reserve"


def test_a_reserve_takes_real_space_and_gives_it_back_once(path: Path) -> None:
    reserve = Reserve(path, size=SIZE)
    reserve.make()
    assert path.stat().st_size == SIZE
    assert path.stat().st_blocks * 512 >= SIZE
    assert [reserve.spend(), reserve.spend()] == [True, False]
    assert not path.exists()


def test_a_reserve_that_is_there_is_left_alone(path: Path) -> None:
    reserve = Reserve(path, size=SIZE)
    reserve.make()
    before = path.stat().st_mtime_ns
    reserve.make()
    assert path.stat().st_mtime_ns == before


def test_a_reserve_that_was_spent_is_made_again_only_when_there_is_plenty(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = Reserve(path, size=SIZE)
    usage = shutil.disk_usage(path.parent)
    free = HOLE * SIZE - 1

    def now(_: Path) -> object:
        return usage._replace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", now)
    reserve.make()
    assert not path.exists()
    free += 1
    reserve.make()
    assert path.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP])
def test_where_no_space_can_be_put_aside_there_is_no_reserve(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    reserve = Reserve(path, size=SIZE)
    reserve.make()
    assert (path.exists(), reserve.spend()) == (False, False)


def test_another_failure_is_not_passed_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(OSError, match="Input/output error"):
        Reserve(path, size=SIZE).make()
    assert not path.exists()
