from pathlib import Path

import pytest

from salver_server.ids import SessionId
from salver_server.sessions.rest import SETTLED, Rest

SESSION = SessionId("ses-1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "outbound.db"
    file.write_bytes(b"rows")
    return file


def look(rest: Rest, file: Path, now: float) -> bool:
    """Whether a look at this time may be spared; it is kept like one that was made."""
    look = rest.before(SESSION, file, now)
    spared = rest.holds(SESSION, look)
    rest.keep(SESSION, look)
    return spared


def test_a_file_that_was_never_read_does_not_rest(file: Path) -> None:
    rest = Rest()
    assert not rest.holds(SESSION, rest.before(SESSION, file, 100))


def test_a_file_rests_once_it_was_read_well_after_its_last_change(file: Path) -> None:
    rest = Rest()
    times = [0, SETTLED / 2, SETTLED, SETTLED + 1, 1000]
    assert [look(rest, file, now) for now in times] == [False, False, False, True, True]


def test_a_look_that_was_not_finished_proves_nothing(file: Path) -> None:
    rest = Rest()
    look(rest, file, 0)
    rest.before(SESSION, file, 2 * SETTLED)
    assert not look(rest, file, 3 * SETTLED)


def test_whatever_is_written_ends_its_rest(file: Path) -> None:
    rest = Rest()
    for now in (0, SETTLED):
        look(rest, file, now)
    assert look(rest, file, 10)
    file.write_bytes(b"row two")
    assert [look(rest, file, now) for now in (20, 21, 20 + SETTLED, 30)] == [
        False,
        False,
        False,
        True,
    ]


def test_another_file_of_the_same_size_does_not_rest(file: Path) -> None:
    rest = Rest()
    for now in (0, SETTLED):
        look(rest, file, now)
    other = file.with_name("other")
    other.write_bytes(b"swor")
    other.replace(file)
    assert not look(rest, file, 10)


def test_a_file_that_is_not_there_rests_until_it_comes(file: Path) -> None:
    rest = Rest()
    file.unlink()
    for now in (0, SETTLED):
        look(rest, file, now)
    assert look(rest, file, 10)
    file.write_bytes(b"rows")
    assert not look(rest, file, 11)


def test_a_session_with_a_new_file_starts_afresh(file: Path) -> None:
    rest = Rest()
    for now in (0, SETTLED):
        look(rest, file, now)
    rest.forget(SESSION)
    assert not look(rest, file, 10)
