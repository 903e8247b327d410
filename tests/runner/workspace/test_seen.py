import os
from pathlib import Path

from salver_runner.workspace import files
from salver_runner.workspace.seen import Seen


def test_only_what_was_read_and_stayed_as_it_was_may_be_replaced(tmp_path: Path) -> None:
    seen, path = Seen(), str(tmp_path / "a")
    state = files.replace(path, "text")
    assert "not read it" in str(seen.objection(path, state))
    seen.note(path, state)
    assert seen.objection(path, state) is None
    os.utime(path, ns=(0, 0))
    assert "changed by something else" in str(seen.objection(path, files.text(path)[1]))


def test_a_file_is_one_by_whatever_name(tmp_path: Path) -> None:
    seen, path = Seen(), str(tmp_path / "a")
    state = files.replace(path, "text")
    (tmp_path / "link").symlink_to("a")
    seen.note(str(tmp_path / "link"), state)
    assert seen.objection(path, state) is None
