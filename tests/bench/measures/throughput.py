"""Fifty sessions that talk as fast as they are answered."""

import time
from asyncio import TaskGroup
from collections.abc import AsyncIterator

from tests.bench import floors, use
from tests.bench.finding import Finding, Goal, Measure, Pace
from tests.bench.house import House, Yard

SESSIONS = 50
COMMITS = 3
"""Of one message in the files of its session: handed over, claimed, answered."""


async def throughput(yard: Yard, pace: Pace) -> AsyncIterator[Finding]:
    seconds = pace.often(8, 60)
    commits = floors.commits_a_second(files=3, seconds=2)
    async with yard.house(most_sandboxes=SESSIONS + 10) as house:
        async with TaskGroup() as tasks:
            waking = [
                tasks.create_task(wake(house), name=f"bench.wake({number})")
                for number in range(SESSIONS)
            ]
        sessions = [it.result() for it in waking]
        core = use.core(house.pid)
        runners = [pid for family in use.sandboxes(house.pid) for pid in family]
        worked = [use.worked(core), use.worked(runners)]
        began = time.perf_counter()
        async with TaskGroup() as tasks:
            talking = [
                tasks.create_task(chatter(house, session, began + seconds), name="bench.chatter")
                for session in sessions
            ]
        lasted = time.perf_counter() - began
        trips = [trip for it in talking for trip in it.result()]
        mine, theirs = use.worked(core) - worked[0], use.worked(runners) - worked[1]
    yield Finding(
        what=f"messages over {SESSIONS} sessions",
        unit="/s",
        values=[len(trips) / lasted],
        goal=Goal(at_least=500),
        floor=commits / COMMITS,
        note=f"floor: the disk's {commits:,.0f} commits/s into 3 files, {COMMITS} of them a message",
    )
    yield Finding(what="each of these round trips", unit="ms", values=trips)
    yield Finding(
        what="processor time of one message",
        unit="ms",
        values=[(mine + theirs) / len(trips) * 1000],
        note=f"the server's part of it is {mine / len(trips) * 1000:.2g} ms, the rest its runner's",
    )


async def wake(house: House) -> str:
    async with house.talk() as talk:
        return (await talk.round_trip("!say awake", new=True)).session


async def chatter(house: House, session: str, until: float) -> list[float]:
    trips: list[float] = []
    async with house.talk() as talk:
        while time.perf_counter() < until:
            trips.append((await talk.round_trip("!say pong", session=session)).seconds * 1000)
    return trips


MEASURE = Measure(place=6, title="sustained messages over many sessions", run=throughput)
