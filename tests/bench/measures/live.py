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
REST = 60.0
"""Seconds until many sandboxes that have just been busy do: they are looked at ever more rarely."""


async def live(yard: Yard, pace: Pace) -> AsyncIterator[Finding]:
    yield Finding(
        what="memory of a runner before its first turn",
        unit="MB",
        values=[await use.runner_alone(yard.home()) for _ in range(pace.often(3, 10))],
        goal=Goal(median=20),
        note="alone on this machine, so that nothing is shared with others of its kind",
    )
    async with yard.house(most_sandboxes=LIVE + 10) as house:
        async for finding in without_sessions(house, pace):
            yield finding
        few = await round_trips(house, pace.often(50, 300))
        await stop_and_go_on(house)
        await sleep(SETTLE)
        used = use.memory(use.core(house.pid))
        await wake_all(house)
        async for finding in with_many(house, pace, used):
            yield finding
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
            values=[await stop_and_go_on(house)],
            goal=Goal(median=2000),
        )


async def without_sessions(house: House, pace: Pace) -> AsyncIterator[Finding]:
    await sleep(SETTLE)
    core = use.core(house.pid)
    memory = use.memory(core)
    yield Finding(what="memory, fresh", unit="MB", values=[memory], goal=Goal(median=90))
    cpu = await use.cpu(core, seconds=pace.often(20, 120))
    yield Finding(what="CPU, no session", unit="%", values=cpu, goal=Goal(median=0.2))


async def with_many(house: House, pace: Pace, used: float) -> AsyncIterator[Finding]:
    await sleep(SETTLE)
    core, sandboxes = use.core(house.pid), use.sandboxes(house.pid)
    memory = use.memory(core)
    yield Finding(
        what=f"memory that {LIVE} live sessions add",
        unit="MB",
        values=[memory - used],
        goal=Goal(median=15),
        note=f"to the {used:.0f} MB of a server and its readers that have worked and rest",
    )
    yield Finding(
        what=f"memory of an idle sandbox, one of {LIVE}",
        unit="MB",
        values=[use.memory(family) for family in sandboxes],
        note="its runner after one turn, with what the runtime put around it",
    )
    await sleep(REST)
    everyone = [pid for family in sandboxes for pid in family]
    mine, theirs = await use.cpu(core, everyone, seconds=pace.often(30, 120))
    yield Finding(
        what=f"CPU, {LIVE} live",
        unit="%",
        values=[mine],
        goal=Goal(median=0.2),
        note=f"a minute after their last turn; the {LIVE} runners together take {theirs:.2g} % more",
    )


async def wake_all(house: House) -> None:
    turnstile = Semaphore(AT_ONCE)

    async def one() -> None:
        async with turnstile:
            await wake(house)

    async with TaskGroup() as tasks:
        for number in range(LIVE):
            tasks.create_task(one(), name=f"bench.wake({number})")


async def stop_and_go_on(house: House) -> float:
    """Milliseconds until every sandbox was gone."""
    async with house.talk() as talk:
        began = time.perf_counter()
        await talk.ask("POST", "/stop")
        milliseconds = (time.perf_counter() - began) * 1000
        await talk.ask("POST", "/resume")
    return milliseconds


MEASURE = Measure(place=7, title="idle cost, and many live sessions", run=live)
