"""Run as a program that makes a call and kills itself at the nth statement of SQL.

It says how far it has come: a call that has begun goes out to the vendor, who wants money for it.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from salver_server.calls import Tokens
from salver_server.store import open_database
from tests.server.usage.conftest import ask, ledger

TOOK = Tokens(input=1_000, output=100)


async def main(home: Path, steps: int) -> None:
    left = steps

    def step(_: str) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    async with open_database(home / "salver.db") as database:
        await database.write(lambda conn: conn.set_trace_callback(step))
        till = ledger(home, database)
        await till.open()
        call = await till.begin(ask())
        os.write(1, b"begun\n")
        await till.end(call, status=200, tokens=TOOK)
        os.write(1, b"ended\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
