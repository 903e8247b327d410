"""A full disk delays; it loses nothing, and whoever speaks is told."""

import contextlib
import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.crash.harness import House, house

SIZE = 96 * 2**20
KEEP_FREE = 24 * 2**20
"""More than the reserve gives back: what is accepted from it must wait for its sandbox."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[House]:
    """A house whose data lies on a disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root, which CI is")
    with house(tmp_path, SALVER_KEEP_FREE=str(KEEP_FREE), SALVER_SWEEP="1") as home:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "salver", str(home.home)],
            check=True,
        )
        try:
            yield home
        finally:
            home.close()
            subprocess.run(["umount", "--lazy", str(home.home)], check=True)


@pytest.mark.slow
def test_what_is_said_on_a_full_disk_is_accepted_from_the_reserve_and_answered_later(
    small_disk: House,
) -> None:
    home = small_disk
    home.start()
    home.send("")
    home.settle()
    home.kill()
    home.kill_sandboxes()
    home.start()
    filler = fill(home.home)
    accepted = home.send("")
    assert accepted.id, "the reserve was not spent"
    home.wait_for_trouble(accepted, "MB are free")
    home.kill()
    filler.unlink()
    home.start()
    home.settle()
    home.verify()


@pytest.mark.slow
def test_what_cannot_be_accepted_is_refused_with_a_reason_and_taken_up_when_there_is_room(
    small_disk: House,
) -> None:
    home = small_disk
    home.start()
    home.send("")
    home.settle()
    filler = fill(home.home)
    refused = home.offer_until_refused()
    assert "Free some disk space" in refused
    home.kill()
    home.kill_sandboxes()
    filler.unlink()
    home.start()
    home.settle()
    home.verify()


def fill(folder: Path) -> Path:
    """Leave not a byte free, beside what the house holds back itself."""
    filler = folder / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 2**20)
            file.flush()
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 512):
            pass
    return filler
