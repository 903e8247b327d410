"""`make bench`: measures the budgets of the architecture beside what the machine could do at best.

    python -m tests.bench [NAME ...] [--long]

A name is that of a file in measures/. Nothing here passes or fails by the clock; the end says which
budgets are missed. Other work on the computer is noise: compare with the floor of the same run. Every
server and sandbox is real, and none is left behind, not even after Ctrl-C.
"""

import argparse
import asyncio
import importlib
import os
import pkgutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable

from tests.bench import measures
from tests.bench.finding import Finding, Measure, Pace
from tests.bench.house import Yard, open_yard
from tests.bench.table import footnotes, table, verdict


def main() -> None:
    known = discover()
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    listed = "; ".join(f"{name}: {it.title}" for name, it in known.items())
    parser.add_argument("names", nargs="*", metavar="NAME", help=listed)
    parser.add_argument(
        "--long", action="store_true", help="measure more often, for steadier numbers"
    )
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no such measurement: {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = {name: it for name, it in known.items() if name in options.names or not options.names}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    findings: list[Finding] = []
    whole = False
    try:
        with open_yard() as yard:
            whole = asyncio.run(measured(chosen, yard, Pace(long=options.long), findings))
    except KeyboardInterrupt:
        say("interrupted")
    report(findings)
    sys.exit(not whole)


def discover() -> dict[str, Measure]:
    """The measurements by the names of their files, in their order."""
    found: dict[str, Measure] = {}
    for module in pkgutil.iter_modules(measures.__path__):
        found[module.name] = importlib.import_module(f"{measures.__name__}.{module.name}").MEASURE
    return dict(sorted(found.items(), key=lambda item: item[1].place))


async def measured(
    chosen: dict[str, Measure], yard: Yard, pace: Pace, findings: list[Finding]
) -> bool:
    """Fill `findings`; false if a measurement broke down."""
    whole = True
    for name, measure in chosen.items():
        began = time.perf_counter()
        say(f"{name}: {measure.title} …")
        try:
            async for finding in measure.run(yard, pace):
                findings.append(finding)  # noqa: PERF401  what was found before a Ctrl-C is kept
        except Exception:  # noqa: BLE001  the rim: the other measurements go on
            traceback.print_exc()
            whole = False
        say(f"{name}: {time.perf_counter() - began:.0f} s")
    return whole


def report(findings: Iterable[Finding]) -> None:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"\nOn {os.cpu_count()} cores, load {load} at the end; other work on them is noise here.\n"
    )
    print(table(findings))
    print(f"\n{footnotes(findings)}\n\n{verdict(findings)}")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
