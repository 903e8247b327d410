import errno
import os
from pathlib import Path

import pytest

from salver_server.kit.secret import Secret
from salver_server.secrets import KeychainError
from salver_server.secrets.keyfile import KeyFile

ITEM = Secret("A" * 44)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path)


def test_the_file_is_for_its_owner_alone_whatever_the_umask(file: KeyFile) -> None:
    before = os.umask(0)
    try:
        file.create(ITEM)
        file.set(ITEM)
    finally:
        os.umask(before)
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_first_item_takes_nobody_s_place(file: KeyFile) -> None:
    file.create(ITEM)
    with pytest.raises(FileExistsError):
        file.create(Secret("B" * 44))
    assert file.get() == ITEM
    assert [path.name for path in file.path.parent.iterdir()] == ["secrets.key"]


def test_what_a_cut_off_write_left_is_in_nobody_s_way(file: KeyFile, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "secrets.key.new").symlink_to(target)
    file.create(ITEM)
    assert (file.get(), target.read_text()) == (ITEM, "precious")


def test_a_file_that_others_may_read_is_not_trusted(file: KeyFile) -> None:
    file.create(ITEM)
    file.path.chmod(0o640)
    with pytest.raises(KeychainError, match="may be read by others: put it back to mode 0600"):
        file.get()


def test_a_link_a_folder_and_a_pipe_are_no_key_file(file: KeyFile, tmp_path: Path) -> None:
    file.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeychainError, match="is a link"):
        file.get()
    file.path.unlink()
    file.path.mkdir()
    with pytest.raises(KeychainError, match="is no file of yours"):
        file.get()
    file.path.rmdir()
    os.mkfifo(file.path, 0o600)
    with pytest.raises(KeychainError, match="is no file of yours"):
        file.get()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_somebody_else_s_file_is_not_trusted(file: KeyFile) -> None:
    file.create(ITEM)
    os.chown(file.path, 12345, -1)
    with pytest.raises(KeychainError, match="is no file of yours"):
        file.get()


def test_a_full_disk_leaves_the_item_that_was_there(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.create(ITEM)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        file.set(Secret("B" * 44))
    assert file.get() == ITEM
    assert [path.name for path in file.path.parent.iterdir()] == ["secrets.key"]
