"""A server with one channel more: paper, where what is written stays, and twice written is seen twice.

Messages come in over a unix socket, one JSON object a line, and are acknowledged with `ok` once accepted.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from salver_server import channels
from salver_server.agents.book import FIRST
from salver_server.app import open_house
from salver_server.channels import Channel, ChannelSpec, Intake, Receipt
from salver_server.clock import SystemClock, stamp
from salver_server.ids import ChannelName
from salver_server.kit.logs import to_stderr
from salver_server.messages import Inbound, Outbound
from salver_server.routing import store as chats
from salver_server.settings import read_settings

PAPER = ChannelName("paper")
ADDRESS = "desk"


class Paper:
    def __init__(self, sheet: Path) -> None:
        self._sheet = sheet

    async def send(self, message: Outbound, /) -> Receipt:
        with self._sheet.open("a") as sheet:
            sheet.write(json.dumps({"answers": message.answers, "text": message.text}) + "\n")
        return Receipt()


@asynccontextmanager
async def open_paper(intake: Intake) -> AsyncGenerator[Channel]:
    home = read_settings().home
    (home / "paper.in").unlink(missing_ok=True)

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            await intake(read(line))
            writer.write(b"ok\n")
        writer.close()

    async with await asyncio.start_unix_server(receive, home / "paper.in"):
        yield Paper(home / "paper.out")


def read(line: bytes) -> Inbound:
    found = json.loads(line)
    return Inbound(
        channel=PAPER,
        address=ADDRESS,
        key=found["key"],
        sender="somebody",
        text=found["text"],
        sent_at=SystemClock().now(),
    )


async def main() -> None:
    to_stderr()
    spec = ChannelSpec(name=PAPER, title="Paper", idempotent=False, open=open_paper)
    async with open_house(
        read_settings(), channel_specs=channels.discover() | {PAPER: spec}
    ) as house:
        rooms = house.rooms
        now = stamp(rooms.clock.now())
        chat = await rooms.database.read(lambda conn: chats.chat(conn, PAPER, ADDRESS))
        if chat is None:
            id_ = await rooms.database.write(
                lambda conn: chats.new_chat(
                    conn, PAPER, ADDRESS, title="Desk", is_group=False, now=now
                )
            )
            await rooms.database.write(
                lambda conn: chats.wire(conn, id_, FIRST, mode="shared", engagement="every-message")
            )
        (rooms.settings.home / "paper.ready").touch()
        await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
