import time

import pytest

from salver_server.kit.pace import Pace


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The boot clock's reading, as long as a test lets it stand still."""
    seconds = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    return seconds


async def returns_at_once(pace: Pace, amount: int = 1) -> bool:
    waiting = pace.keep(amount)
    try:
        waiting.send(None)
    except StopIteration:
        return True
    waiting.close()
    return False


@pytest.mark.usefixtures("seconds")
async def test_whoever_keeps_the_pace_is_not_held_up() -> None:
    pace = Pace(3)
    assert [await returns_at_once(pace) for _ in range(3)] == [True, True, True]


@pytest.mark.usefixtures("seconds")
async def test_whoever_comes_too_often_waits() -> None:
    pace = Pace(2)
    assert [await returns_at_once(pace) for _ in range(4)] == [True, True, False, False]


@pytest.mark.usefixtures("seconds")
async def test_whoever_brings_too_much_at_once_waits() -> None:
    pace = Pace(10)
    assert [await returns_at_once(pace, amount) for amount in (4, 6, 1)] == [True, True, False]


async def test_every_second_begins_anew(seconds: list[float]) -> None:
    pace = Pace(1)
    assert [await returns_at_once(pace) for _ in range(2)] == [True, False]
    seconds[0] += 1
    assert [await returns_at_once(pace) for _ in range(2)] == [True, False]
