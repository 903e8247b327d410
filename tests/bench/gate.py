"""The gateway as a program of its own: SOCKET in front of the model on 127.0.0.1:PORT."""

import asyncio
import sys
from pathlib import Path

from salver_server.clock import SystemClock
from salver_server.gateway import open_gateway, token_hash
from salver_server.ids import AgentName, SessionId
from tests.fakes.meter import FakeMeter
from tests.fakes.upstream import FakeUpstream

TOKEN = "bench-token"


async def main(socket: Path, port: int) -> None:
    async with open_gateway(SystemClock(), meter=FakeMeter()) as gateway:
        await gateway.open(
            SessionId("ses-bench"),
            socket,
            agent=AgentName("bench"),
            token_hash=token_hash(TOKEN),
            upstreams=[FakeUpstream(url=f"http://127.0.0.1:{port}/v1")],
        )
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
