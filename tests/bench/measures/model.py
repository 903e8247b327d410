"""Turns with a model behind the real provider, which is scripted and answers at once."""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from salver_server.settings import container
from tests.bench.finding import Finding, Goal, Measure, Pace
from tests.bench.house import House, Yard
from tests.bench.measures.gateway import Request, program
from tests.bench.measures.warm import round_trips
from tests.fakes.model import MODEL

WIRES = ("chat", "responses", "google", "anthropic")
IMPORT = """
import importlib, sys
importlib.import_module(f"salver_runner.providers.pydantic_ai.wires.{sys.argv[1]}")
with open("/proc/self/smaps_rollup") as lines:
    print(next(line.split()[1] for line in lines if line.startswith("Pss:")))
"""


async def model(yard: Yard, pace: Pace) -> AsyncIterator[Finding]:
    port_file = yard.home() / "port"
    arguments = ("--key", "", "--port-file", str(port_file))
    async with program("tests.fakes.model", *arguments, shows=port_file), yard.house() as house:
        port = int(port_file.read_text(encoding="utf-8"))
        async with house.talk() as talk:
            account = {"base_url": f"http://127.0.0.1:{port}/v1", "model": MODEL, "default": True}
            await talk.ask("PUT", "/providers/openai-compatible", account)
            # The first turn of all installs the provider's packages.
            await talk.round_trip("!say installed", new=True)
        direct = [
            await Request("/v1", "").first_byte(lambda: asyncio.open_connection("127.0.0.1", port))
            for _ in range(pace.often(30, 300))
        ]
        yield Finding(
            what="warm turn with a model",
            unit="ms",
            values=await round_trips(house, pace.often(60, 600)),
            goal=Goal(median=50),
            floor=statistics.median(direct),
            note="floor: the model alone; beyond it, the way of every message and the provider's library",
        )
        (pack,) = (house.home / "packs").glob("[!.]*")
        costs = {
            wire: [await importing(pack, wire) for _ in range(pace.often(5, 20))] for wire in WIRES
        }
        yield Finding(
            what="cold, to a model's first words",
            unit="ms",
            values=await first_words(house, pace.often(10, 60)),
            floor=statistics.median(took for took, _ in costs["chat"]),
            note="floor: an interpreter that imports what this takes",
        )
    for wire, found in costs.items():
        yield Finding(what=f"library for {wire}: import", unit="ms", values=[it[0] for it in found])
        yield Finding(what=f"library for {wire}: memory", unit="MB", values=[it[1] for it in found])


async def first_words(house: House, times: int) -> list[float]:
    """Milliseconds from a message to a session whose sandbox has ended until its answer begins to show."""
    found: list[float] = []
    async with house.talk() as talk:
        first = await talk.round_trip("!say awake", new=True)
        for _ in range(times):
            await talk.ask("POST", "/stop")
            await talk.ask("POST", "/resume")
            trip = await talk.round_trip("!say pong", session=first.session)
            found.append(trip.first * 1000)
    return found


async def importing(pack: Path, wire: str) -> tuple[float, float]:
    """Milliseconds of an interpreter that imports what a wire takes, and the megabytes that it holds then."""
    path = os.pathsep.join((str(container()), str(pack)))
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", IMPORT, wire),
        env={"PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the library for {wire} cannot be imported from {pack}")
    return (time.perf_counter() - began) * 1000, int(printed) / 1024


MEASURE = Measure(place=5, title="turns with a model", run=model)
