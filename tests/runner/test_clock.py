import re
import time

from salver_runner.clock import elapsed, now, stamp, today


def test_a_stamp_is_exactly_of_the_house_form() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp())


def test_a_stamp_is_now() -> None:
    before = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    assert before <= stamp()


def test_durations_are_taken_by_the_boot_clock() -> None:
    assert elapsed() <= time.clock_gettime(time.CLOCK_BOOTTIME) <= elapsed()


def test_a_day_is_that_of_the_local_clock() -> None:
    before, found = time.strftime("%Y-%m-%d"), today()
    assert before <= found <= time.strftime("%Y-%m-%d")


def test_now_is_told_in_the_local_zone() -> None:
    assert f"{now():%z}" == time.strftime("%z")
