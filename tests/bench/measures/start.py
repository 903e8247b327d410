"""From the start of the process to its first answer."""

import statistics
from collections.abc import AsyncIterator

from tests.bench import floors
from tests.bench.finding import Finding, Goal, Measure, Pace
from tests.bench.house import House, Yard


async def start(yard: Yard, pace: Pace) -> AsyncIterator[Finding]:
    times = pace.often(5, 30)
    floor = statistics.median(floors.imports_and_bind(times))
    home = yard.home()
    seconds: list[float] = []
    for _ in range(times + 1):
        house = House(home)
        try:
            seconds.append(await house.start())
        finally:
            house.stop()
    yield Finding(
        what="start to ready",
        unit="ms",
        values=[value * 1000 for value in seconds[1:]],
        goal=Goal(median=600),
        floor=floor,
        note="floor: an interpreter that imports fastapi and uvicorn and binds a socket",
    )
    yield Finding(what="first start, in an empty folder", unit="ms", values=[seconds[0] * 1000])


MEASURE = Measure(place=1, title="server start", run=start)
