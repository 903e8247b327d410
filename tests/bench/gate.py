"""The gateway as a program of its own: SOCKET in front of the model on 127.0.0.1:PORT."""

import asyncio
import sys
from pathlib import Path

from pydantic import SecretStr

from salver_server.clock import SystemClock
from salver_server.gateway import Call, open_gateway, token_hash
from salver_server.ids import SessionId
from salver_server.providers import Endpoint
from tests.fakes.model import KEY

TOKEN = "bench-token"


async def main(socket: Path, port: int) -> None:
    upstream = Endpoint(url=f"http://127.0.0.1:{port}/v1", key=SecretStr(KEY))
    async with open_gateway(SystemClock(), meter=unmetered) as gateway:
        await gateway.open(
            SessionId("ses-bench"), socket, token_hash=token_hash(TOKEN), upstream=upstream
        )
        await asyncio.Event().wait()


def unmetered(_: Call) -> None: ...


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
