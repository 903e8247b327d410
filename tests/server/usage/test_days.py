from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver_server.usage.days import Day, day_of, days_ago

BERLIN = "Europe/Berlin"
pytestmark = pytest.mark.skipif(
    BERLIN not in available_timezones(), reason="this system has no zones"
)
ZONES = (BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Kiritimati")


def test_a_day_is_that_of_the_zone() -> None:
    moment = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
    assert day_of(moment, UTC) == "2026-11-21"
    assert day_of(moment, ZoneInfo(BERLIN)) == "2026-11-22"


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)]
)
def test_a_day_lasts_from_midnight_to_midnight_also_when_clocks_are_changed(
    day: date, hours: int
) -> None:
    zone = ZoneInfo(BERLIN)
    start = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    quarters = [day_of(start + timedelta(minutes=15 * n), zone) for n in range(-4, hours * 4 + 4)]
    assert quarters.count(Day(day.isoformat())) == hours * 4
    assert sorted(quarters) == quarters


@given(
    moments=st.lists(
        st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 hypothesis wants naive bounds
        min_size=2,
    ),
    zone=st.sampled_from(ZONES),
)
def test_days_never_run_backwards(moments: list[datetime], zone: str) -> None:
    days = [day_of(moment, ZoneInfo(zone)) for moment in sorted(moments)]
    assert days == sorted(days)


def test_days_are_counted_back_over_months_and_years() -> None:
    assert days_ago(Day("2027-01-01"), 0) == "2027-01-01"
    assert days_ago(Day("2027-01-01"), 1) == "2026-12-31"
    assert days_ago(Day("2024-03-01"), 30) == "2024-01-31"
