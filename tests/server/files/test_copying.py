import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from salver_server.files import copying


@contextmanager
def opened(folder: Path, data: bytes) -> Generator[tuple[int, int]]:
    (folder / "source").write_bytes(data)
    source = os.open(folder / "source", os.O_RDONLY)
    target = os.open(folder / "target", os.O_WRONLY | os.O_CREAT)
    try:
        yield source, target
    finally:
        os.close(source)
        os.close(target)


@pytest.mark.parametrize("size", [0, 1, 10, 25])
def test_everything_is_copied_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(copying, "PIECE", 10)
    with opened(tmp_path, os.urandom(size)) as (source, target):
        assert copying.copy(source, target, most=100) == size
    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()


def test_no_more_is_copied_than_was_asked_for(tmp_path: Path) -> None:
    with opened(tmp_path, b"x" * 100) as (source, target):
        assert copying.copy(source, target, most=7) == 7
    assert (tmp_path / "target").read_bytes() == b"x" * 7


def test_a_clone_is_whole_or_there_is_none(tmp_path: Path) -> None:
    with opened(tmp_path, b"hello") as (source, target):
        cloned = copying.clone(source, target)
    assert (tmp_path / "target").read_bytes() == (b"hello" if cloned else b"")
