"""A runner's log stays short."""

from pathlib import Path

import pytest

from salver_server.runtimes.process import logs


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST", 100)
    monkeypatch.setattr(logs, "TAIL", 10)


def test_a_new_runner_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    log = tmp_path / "launch.log"
    for words in (b"one\n", b"two\n"):
        with logs.opened(log) as file:
            file.write(words)
    assert log.read_text(encoding="utf-8") == "one\ntwo\n"
    assert log.stat().st_mode & 0o777 == 0o600
    assert logs.since(log, 4) == "two\n"


def test_a_long_log_is_put_aside_before_the_next_start(tmp_path: Path) -> None:
    log = tmp_path / "launch.log"
    log.write_bytes(b"x" * 101)
    with logs.opened(log) as file:
        assert file.tell() == 0
    assert (tmp_path / "launch.log.1").stat().st_size == 101


def test_a_live_runners_log_is_cut_to_its_tail(tmp_path: Path) -> None:
    log = tmp_path / "launch.log"
    with logs.opened(log) as file:
        file.write(b"x" * 95 + b"123456789\n")
        logs.cut(log)
        file.write(b"more\n")
    assert log.read_text(encoding="utf-8") == "more\n"
    assert (tmp_path / "launch.log.1").read_text(encoding="utf-8") == "123456789\n"


def test_a_short_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "launch.log"
    logs.cut(log)
    log.write_bytes(b"x" * 100)
    logs.cut(log)
    assert log.stat().st_size == 100


def test_a_log_that_is_a_link_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "launch.log"
    log.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        logs.opened(log)
