"""A message to a runner that is awake, and back; and the same with one ear after the other closed."""

import statistics
from collections.abc import AsyncIterator

from tests.bench import floors
from tests.bench.finding import Finding, Goal, Measure, Pace
from tests.bench.house import House, Yard

SWEEP = 0.5


async def warm(yard: Yard, pace: Pace) -> AsyncIterator[Finding]:
    floor = statistics.median(floors.two_databases(pace.often(100, 500)))
    async with yard.house() as house:
        trips = await round_trips(house, pace.often(100, 1000))
    yield Finding(
        what="warm round trip",
        unit="ms",
        values=trips,
        goal=Goal(median=15, p95=40),
        floor=floor,
        note="floor: a row there and a row back between two processes, by inotify",
    )
    async with yard.house(doorbell=0) as house:
        trips = await round_trips(house, pace.often(30, 300))
    yield Finding(
        what="the same by watchfiles alone",
        unit="ms",
        values=trips,
        goal=Goal(p95=150),
        floor=floor,
    )
    async with yard.house(doorbell=0, watch=0, sweep=SWEEP) as house:
        trips = await round_trips(house, pace.often(8, 40))
    yield Finding(
        what="the same by the sweep alone",
        unit="ms",
        values=trips,
        floor=SWEEP * 1000,
        note=f"floor: the sweep, here every {SWEEP:g} s instead of 30",
    )


async def round_trips(house: House, times: int, **where: object) -> list[float]:
    """Milliseconds of each of so many trips in one session, this one or a new one, that is awake."""
    async with house.talk() as talk:
        first = await talk.round_trip("!say awake", **(where or {"new": True}))
        for _ in range(min(10, times // 4)):
            await talk.round_trip("!say warm", session=first.session)
        trips = [await talk.round_trip("!say pong", session=first.session) for _ in range(times)]
    return [trip.seconds * 1000 for trip in trips]


MEASURE = Measure(place=2, title="warm round trips", run=warm)
