import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver_server.clock import SystemClock, moment, stamp
from tests.fakes.clock import NOON, FakeClock

DAYS = timedelta(days=20_000)
MOMENTS = st.tuples(
    st.timedeltas(min_value=-DAYS, max_value=DAYS), st.integers(min_value=-14, max_value=14)
).map(lambda it: (NOON + it[0]).astimezone(timezone(timedelta(hours=it[1]))))


def test_a_stamp_is_in_utc_and_to_the_millisecond() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    assert stamp(datetime(2030, 1, 2, 5, 30, 7, 89999, tzinfo=india)) == "2030-01-02T00:00:07.089Z"


def test_an_early_year_has_four_digits() -> None:
    assert stamp(datetime(987, 6, 5, tzinfo=UTC)) == "0987-06-05T00:00:00.000Z"


@given(MOMENTS)
def test_a_stamp_names_its_moment_to_the_millisecond(when: datetime) -> None:
    assert timedelta(0) <= when - moment(stamp(when)) < timedelta(milliseconds=1)


@given(MOMENTS, MOMENTS)
def test_stamps_compare_as_their_moments_do(one: datetime, other: datetime) -> None:
    if one <= other:
        assert stamp(one) <= stamp(other)


@pytest.mark.parametrize("text", ["", "yesterday", "2030-01-02", "2030-13-02T00:00:00.000Z"])
def test_what_is_no_stamp_names_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="does not match format"):
        moment(text)


def test_the_system_s_clock_knows_the_wall_and_what_has_passed() -> None:
    clock = SystemClock()
    before = clock.elapsed()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=10)
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.elapsed() >= before > 0


async def test_the_system_s_clock_sleeps() -> None:
    clock = SystemClock()
    before = clock.elapsed()
    await clock.sleep(0.001)
    assert clock.elapsed() - before >= 0.001


# The fake one


async def test_a_fake_clock_wakes_whoever_has_slept_long_enough() -> None:
    clock = FakeClock()
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as tasks:
        for seconds in (3.0, 1.0, 2.0):
            tasks.create_task(sleep(seconds), name=f"sleep {seconds}")
        await clock.asleep(3)
        clock.advance(2)
        await asyncio.sleep(0)
        assert woken == [1.0, 2.0]
        clock.advance(1)
    assert woken == [1.0, 2.0, 3.0]


async def test_a_fake_clock_that_is_set_wakes_nobody() -> None:
    clock = FakeClock()
    async with asyncio.TaskGroup() as tasks:
        sleeping = tasks.create_task(clock.sleep(60), name="sleep")
        await clock.asleep()
        clock.set(NOON + timedelta(days=1))
        await asyncio.sleep(0)
        assert (sleeping.done(), clock.elapsed()) == (False, 0)
        clock.advance(60)
    assert clock.stamp() == stamp(NOON + timedelta(days=1, seconds=60))
