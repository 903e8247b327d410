"""What doing nothing costs, without a session and with two hundred live ones; and stopping them all."""

import statistics
import time
from asyncio import Semaphore, TaskGroup, sleep
from collections.abc import AsyncIterator

from tests.bench import use
from tests.bench.finding import Finding, Goal, Measure, Pace
from tests.bench.house import House, Yard
from tests.bench.measures.throughput import wake
from tests.bench.measures.warm import round_trips

LIVE = 200
AT_ONCE = 4
"""Sessions woken at the same time."""
SETTLE = 3.0
"""Seconds until a server that has just been busy counts as idle."""


async def live(yard: Yard, pace: Pace) -> AsyncIterator[Finding]:
    seconds = pace.often(20, 120)
    yield Finding(
        what="memory of a runner before its first turn",
        unit="MB",
        values=[await use.runner_alone(yard.home()) for _ in range(pace.often(3, 10))],
        goal=Goal(median=20),
        note="alone on this machine, so that nothing is shared with others of its kind",
    )
    async with yard.house(most_sandboxes=LIVE + 10) as house:
        await sleep(SETTLE)
        idle = use.memory(use.core(house.pid))
        cpu = await use.cpu(use.core(house.pid), seconds)
        yield Finding(what="memory, no session", unit="MB", values=[idle], goal=Goal(median=90))
        yield Finding(what="CPU, no session", unit="%", values=[cpu], goal=Goal(median=0.2))
        few = await round_trips(house, pace.often(50, 300))
        await wake_all(house)
        await sleep(SETTLE)
        full = use.memory(use.core(house.pid))
        runners = use.sandboxes(house.pid)
        cpu = await use.cpu(use.core(house.pid), seconds)
        yield Finding(
            what=f"memory that {LIVE} live sessions add",
            unit="MB",
            values=[full - idle],
            goal=Goal(median=15),
            note=f"{full:.0f} MB in all with the readers",
        )
        yield Finding(what=f"CPU, {LIVE} live", unit="%", values=[cpu], goal=Goal(median=0.2))
        yield Finding(
            what=f"memory of an idle sandbox, one of {LIVE}",
            unit="MB",
            values=[use.memory(family) for family in runners],
            note="its runner after one turn, with what the runtime put around it",
        )
        everyone = [pid for family in runners for pid in family]
        cpu = await use.cpu(everyone, seconds) / len(runners)
        yield Finding(what="CPU of one idle sandbox", unit="%", values=[cpu])
        yield Finding(
            what=f"warm round trip, {LIVE} live",
            unit="ms",
            values=await round_trips(house, pace.often(50, 300)),
            floor=statistics.median(few),
            note="floor: the same server before the others woke up",
        )
        yield Finding(
            what=f"stop everything, {LIVE} live",
            unit="ms",
            values=[await stop(house)],
            goal=Goal(median=2000),
        )


async def wake_all(house: House) -> None:
    turnstile = Semaphore(AT_ONCE)

    async def one() -> None:
        async with turnstile:
            await wake(house)

    async with TaskGroup() as tasks:
        for number in range(LIVE):
            tasks.create_task(one(), name=f"bench.wake({number})")


async def stop(house: House) -> float:
    async with house.talk() as talk:
        began = time.perf_counter()
        await talk.ask("POST", "/stop")
        return (time.perf_counter() - began) * 1000


MEASURE = Measure(title="idle cost, and many live sessions", run=live)
