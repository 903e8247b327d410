"""A message to a session whose sandbox has ended, and back."""

import statistics
import time
from collections.abc import AsyncIterator

from tests.bench import floors
from tests.bench.finding import Finding, Goal, Measure, Pace
from tests.bench.house import House, Yard


async def cold(yard: Yard, pace: Pace) -> AsyncIterator[Finding]:
    times = pace.often(15, 100)
    floor = statistics.median(floors.bare_sandbox(times))
    async with yard.house() as house:
        trips, stops = await cold_trips(house, times)
    yield Finding(
        what="cold round trip, process",
        unit="ms",
        values=trips,
        goal=Goal(median=150),
        floor=floor,
        note="floor: bubblewrap with an interpreter that does nothing",
    )
    yield Finding(what="stop everything, 1 live", unit="ms", values=stops, goal=Goal(p95=2000))


async def cold_trips(house: House, times: int, **where: object) -> tuple[list[float], list[float]]:
    """Milliseconds of each trip in one session, and of each stop before it."""
    trips: list[float] = []
    stops: list[float] = []
    async with house.talk() as talk:
        first = await talk.round_trip("!say awake", **(where or {"new": True}))
        for _ in range(times):
            began = time.perf_counter()
            await talk.ask("POST", "/stop")
            stops.append((time.perf_counter() - began) * 1000)
            await talk.ask("POST", "/resume")
            trip = await talk.round_trip("!say pong", session=first.session)
            trips.append(trip.seconds * 1000)
    return trips, stops


MEASURE = Measure(place=3, title="cold round trips", run=cold)
