from salver_server.channels.local import CHANNEL
from salver_server.ids import ChatId, DeliveryId, SessionId
from salver_server.messages import Inbound, Outbound


async def test_what_is_delivered_here_is_known_by_its_own_id() -> None:
    message = Outbound(
        id=DeliveryId("del-1"),
        chat=ChatId("cht-1"),
        address="salver",
        thread=None,
        session=SessionId("ses-1"),
        kind="reply",
        text="hello",
        answers=(),
    )
    async with CHANNEL.open(nobody) as local:
        assert (await local.send(message)).id == "del-1"


async def nobody(message: Inbound) -> object:
    raise AssertionError(f"{message} came from nowhere")
