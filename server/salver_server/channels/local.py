"""The local chat: the window's and the command line's. What is delivered to it lies in salver.db already.

Whoever shows the chat reads the deliveries there, by id; so a message that is sent twice is seen once.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from salver_server.channels import Channel, ChannelSpec, Intake, Receipt
from salver_server.ids import ChannelName
from salver_server.messages import Outbound


class Local:
    async def send(self, message: Outbound, /) -> Receipt:
        return Receipt(id=message.id)


@asynccontextmanager
async def open_local(intake: Intake) -> AsyncGenerator[Channel]:  # noqa: ARG001 what people write comes through the API
    yield Local()


CHANNEL = ChannelSpec(
    name=ChannelName("local"), title="This computer", idempotent=True, open=open_local
)
