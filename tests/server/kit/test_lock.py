import subprocess
import sys
from pathlib import Path

import pytest

from salver_server.kit.lock import Held, lock


def test_whoever_comes_second_is_told_who_came_first(tmp_path: Path) -> None:
    with lock(tmp_path / "lock") as mine:
        mine.tell({"pid": 7, "address": "a rather long address, to begin with"})
        mine.tell({"pid": 7})
        with pytest.raises(Held) as held, lock(tmp_path / "lock"):
            pass
        assert held.value.holder == {"pid": 7}


def test_a_holder_that_has_told_nothing_yet_holds_all_the_same(tmp_path: Path) -> None:
    with lock(tmp_path / "lock"), pytest.raises(Held) as held, lock(tmp_path / "lock"):
        pass
    assert held.value.holder == {}


def test_the_lock_ends_with_its_block(tmp_path: Path) -> None:
    with lock(tmp_path / "lock"):
        pass
    with lock(tmp_path / "lock") as mine:
        mine.tell({})


def test_the_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    program = """if True:
        import os, pathlib, signal, sys
        from salver_server.kit.lock import lock
        with lock(pathlib.Path(sys.argv[1])) as mine:
            mine.tell({"pid": os.getpid()})
            print("held", flush=True)
            signal.pause()
    """
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lock")], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Held) as held, lock(tmp_path / "lock"):
            pass
        assert held.value.holder == {"pid": other.pid}
        other.kill()
    with lock(tmp_path / "lock"):
        pass


def test_the_lock_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with lock(tmp_path / "lock"):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
