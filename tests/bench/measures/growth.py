"""What a long past costs: ten thousand messages in one session, ten thousand sessions on disk."""

import statistics
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bench import past
from tests.bench.finding import Finding, Measure, Pace
from tests.bench.house import House, Yard
from tests.bench.measures.cold import cold_trips
from tests.bench.measures.warm import round_trips

MESSAGES = 10_000
SESSIONS = 10_000


async def growth(yard: Yard, pace: Pace) -> AsyncIterator[Finding]:
    warm, cold, starts = pace.often(50, 500), pace.often(8, 50), pace.often(3, 20)
    home = yard.home()
    floor_start = statistics.median(await start_times(home, starts))
    async with yard.house(home) as house:
        floor_warm = statistics.median(await round_trips(house, warm))
        floor_cold = statistics.median((await cold_trips(house, cold))[0])
    long_one = past.one_long_session(home, MESSAGES)
    past.many_sessions(home, SESSIONS)
    nothing = "floor: the same data folder before its past was written"
    yield Finding(
        what=f"start, {SESSIONS} sessions on disk",
        unit="ms",
        values=await start_times(home, starts),
        floor=floor_start,
        note=nothing,
    )
    async with yard.house(home) as house:
        yield Finding(
            what=f"warm trip, {SESSIONS} sessions on disk",
            unit="ms",
            values=await round_trips(house, warm),
            floor=floor_warm,
        )
        yield Finding(
            what=f"warm trip, {MESSAGES} messages before it",
            unit="ms",
            values=await round_trips(house, warm, session=long_one),
            floor=floor_warm,
        )
        yield Finding(
            what=f"cold trip, {SESSIONS} sessions on disk",
            unit="ms",
            values=(await cold_trips(house, cold))[0],
            floor=floor_cold,
        )
        yield Finding(
            what=f"cold trip, {MESSAGES} messages before it",
            unit="ms",
            values=(await cold_trips(house, cold, session=long_one))[0],
            floor=floor_cold,
        )


async def start_times(home: Path, times: int) -> list[float]:
    found: list[float] = []
    for _ in range(times + 1):
        house = House(home)
        try:
            found.append(await house.start() * 1000)
        finally:
            house.stop()
    return found[1:]


MEASURE = Measure(place=8, title="growth with history", run=growth)
