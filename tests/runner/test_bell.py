"""The bell: rung by the line, by inotify, or by nobody, and never in a hurry without a reason."""

import asyncio
import os
import resource
from asyncio import TaskGroup
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from salver_runner.bell import Bell
from tests.runner.bus import Bus
from tests.runner.timeless import leaps, timeless


@contextmanager
def no_descriptor_to_spare() -> Generator[None]:
    """Whoever wants one more descriptor gets EMFILE."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.dup(0)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def bell_without_inotify(bus: Bus) -> Bell:
    with no_descriptor_to_spare():
        return Bell(bus.inbound)


def now() -> float:
    return asyncio.get_running_loop().time()


@timeless
async def test_a_ring_is_heard_at_once(bus: Bus) -> None:
    bell = Bell(bus.inbound)
    async with TaskGroup() as tasks:
        waiting = tasks.create_task(bell.wait(connected=True), name="wait")
        await asyncio.sleep(1)
        assert not waiting.done()
        bell.ring()
    assert now() == pytest.approx(1)


@timeless
async def test_a_ring_before_the_wait_is_not_lost_and_not_heard_twice(bus: Bus) -> None:
    bell = Bell(bus.inbound)
    bell.ring()
    bell.ring()
    await bell.wait(connected=True)
    assert now() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await bell.wait(connected=True)


@pytest.mark.parametrize("connected", [True, False])
def test_a_commit_is_heard_by_inotify_alone(bus: Bus, connected: bool) -> None:
    @timeless
    async def story() -> None:
        bell = Bell(bus.inbound)
        bus.write("hello")
        await bell.wait(connected=connected)
        assert now() == 0

    story()


@timeless
async def test_a_new_file_in_the_old_ones_place_is_heard(bus: Bus) -> None:
    bell = Bell(bus.inbound)
    fresh = bus.inbound.with_name("inbound.db.new")
    fresh.write_bytes(b"")
    fresh.replace(bus.inbound)
    await bell.wait(connected=False)
    assert now() == 0


@timeless
async def test_without_inotify_a_commit_is_found_by_looking(bus: Bus) -> None:
    bell = bell_without_inotify(bus)
    bus.write("hello")
    await bell.wait(connected=False)
    assert now() <= 0.021
    await asyncio.sleep(3600)
    bus.write("after a long silence")
    before = now()
    await bell.wait(connected=False)
    assert now() - before <= 1.001


@timeless
async def test_without_inotify_a_file_that_vanishes_is_news(bus: Bus) -> None:
    bell = bell_without_inotify(bus)
    bus.inbound.unlink()
    await bell.wait(connected=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await bell.wait(connected=False)


@timeless
async def test_a_change_between_two_waits_is_found_without_a_ring(bus: Bus) -> None:
    bell = bell_without_inotify(bus)
    bell.ring()
    await bell.wait(connected=True)
    bus.write("hello")
    await bell.wait(connected=True)
    assert now() <= 5.001


@timeless
async def test_with_the_line_an_idle_hour_takes_a_look_every_five_seconds(bus: Bus) -> None:
    assert await looks_in_an_hour(Bell(bus.inbound), connected=True) <= 3600 / 5 + 1


@timeless
async def test_with_inotify_an_idle_hour_takes_a_look_a_second(bus: Bus) -> None:
    assert await looks_in_an_hour(Bell(bus.inbound), connected=False) <= 3600 + 1


@timeless
async def test_with_neither_looks_are_frequent_at_first_and_rare_later(bus: Bus) -> None:
    bell = bell_without_inotify(bus)
    at_first = await looks(bell, seconds=1, connected=False)
    assert 30 <= at_first <= 51
    assert await looks_in_an_hour(bell, connected=False) <= 3600 + 200


async def looks_in_an_hour(bell: Bell, *, connected: bool) -> int:
    return await looks(bell, seconds=3600, connected=connected)


async def looks(bell: Bell, *, seconds: float, connected: bool) -> int:
    """How often a bell woke its loop up in a time in which nothing happened."""
    before = leaps()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await bell.wait(connected=connected)
    return leaps() - before


@timeless
async def test_one_commit_wakes_the_runner_once(bus: Bus) -> None:
    """Looking at a file that is still being written only stands in its writer's way."""
    bell = Bell(bus.inbound)
    woken = 0
    async with TaskGroup() as tasks:

        async def wake() -> None:
            nonlocal woken
            while True:
                await bell.wait(connected=True)
                woken += 1

        waking = tasks.create_task(wake(), name="wake")
        await asyncio.sleep(1)
        with bus.handing_over() as conn:
            conn.execute("DELETE FROM settled")
            await asyncio.sleep(1)
            assert woken == 0
        await asyncio.sleep(1)
        assert woken == 1
        waking.cancel()
