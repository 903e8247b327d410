"""What every channel promises; one suite, run over each that this build has and over the fake ones."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest

from salver_server.channels import Channel, ChannelSpec, Receipt, discover
from salver_server.errors import NeedsUser, Rejected, Transient
from salver_server.ids import ChannelName, ChatId, DeliveryId, SessionId
from salver_server.messages import Inbound, Outbound
from tests.fakes.channel import FakeChannel

MakeSpec = Callable[[], ChannelSpec]

HELLO = Outbound(
    id=DeliveryId("del-1"),
    chat=ChatId("cht-1"),
    address="family",
    thread=None,
    session=SessionId("ses-1"),
    kind="reply",
    text="hello",
    answers=(),
)


def specs() -> dict[str, MakeSpec]:
    found: dict[str, MakeSpec] = {name: lambda spec=spec: spec for name, spec in discover().items()}
    found["fake"] = lambda: FakeChannel().spec
    found["fake-idempotent"] = lambda: FakeChannel(idempotent=True).spec
    return found


@pytest.fixture(params=list(specs().values()), ids=list(specs()))
def spec(request: pytest.FixtureRequest) -> ChannelSpec:
    return request.param()


@pytest.fixture
async def channel(spec: ChannelSpec) -> AsyncGenerator[Channel]:
    async with spec.open(refusing) as channel:
        yield channel


async def refusing(message: Inbound) -> object:
    raise Rejected(f"nobody is expected to write: {message}")


def test_a_channel_is_known_by_a_plain_name_and_a_title(spec: ChannelSpec) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9-]*", spec.name)
    assert spec.title.strip()


def test_the_name_of_the_server_itself_is_taken_by_no_channel(spec: ChannelSpec) -> None:
    assert spec.name != "salver"  # orders and notes are accepted under it


async def test_what_is_sent_has_a_receipt(channel: Channel) -> None:
    assert isinstance(await channel.send(HELLO), Receipt)


@pytest.mark.parametrize("kind", ["reply", "send", "failure"])
async def test_every_kind_of_message_can_be_sent(channel: Channel, kind: str) -> None:
    message = replace(HELLO, kind=kind)
    assert isinstance(await channel.send(message), Receipt)


@pytest.mark.parametrize("text", ["", "x" * 200_000, "話して 👋\n\n<b>&amp;</b>\0"])
async def test_any_text_is_sent_or_refused_for_good(channel: Channel, text: str) -> None:
    try:
        receipt = await channel.send(replace(HELLO, text=text))
    except Rejected:
        return
    assert isinstance(receipt, Receipt)


async def test_sending_again_is_allowed(channel: Channel) -> None:
    for _ in range(2):
        assert isinstance(await channel.send(HELLO), Receipt)


async def test_many_chats_can_be_sent_to_at_once(channel: Channel) -> None:
    messages = [replace(HELLO, id=DeliveryId(f"del-{n}"), address=f"chat-{n}") for n in range(20)]
    receipts = await asyncio.gather(*map(channel.send, messages))
    assert all(isinstance(receipt, Receipt) for receipt in receipts)


async def test_a_channel_can_be_opened_again_once_it_was_closed(spec: ChannelSpec) -> None:
    for _ in range(2):
        async with spec.open(refusing) as channel:
            await channel.send(HELLO)


async def test_closing_leaves_no_task_behind(spec: ChannelSpec) -> None:
    before = asyncio.all_tasks()
    async with spec.open(refusing) as channel:
        await channel.send(HELLO)
    assert asyncio.all_tasks() == before


# What only a fake can be told to do, as a platform would


@pytest.mark.parametrize("error", [Transient("busy"), NeedsUser("log in"), Rejected("too long")])
async def test_a_refusal_says_that_nothing_was_sent(error: Exception) -> None:
    fake = FakeChannel()
    async with fake.spec.open(refusing) as channel:
        fake.refuse(error)
        with pytest.raises(type(error), match=str(error)):
            await channel.send(HELLO)
        assert fake.sent == []
        await channel.send(HELLO)
    assert fake.sent == [HELLO]


async def test_a_lost_answer_leaves_open_whether_it_was_sent() -> None:
    fake = FakeChannel()
    async with fake.spec.open(refusing) as channel:
        fake.lose_answers(ConnectionResetError())
        with pytest.raises(ConnectionResetError):
            await channel.send(HELLO)
    assert fake.sent == [HELLO]


async def test_a_call_can_be_given_up_while_it_waits() -> None:
    fake = FakeChannel()
    fake.dawdle("family")
    async with fake.spec.open(refusing) as channel, asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(channel.send(HELLO), name="send")
        await fake.called(1)
        sending.cancel()
    assert fake.sent == []


@pytest.mark.parametrize(("idempotent", "times"), [(True, 1), (False, 2)])
async def test_only_an_idempotent_platform_takes_twice_for_once(
    *, idempotent: bool, times: int
) -> None:
    fake = FakeChannel(idempotent=idempotent)
    async with fake.spec.open(refusing) as channel:
        await channel.send(HELLO)
        await channel.send(HELLO)
    assert fake.sent == [HELLO] * times


async def test_what_somebody_writes_is_acknowledged_only_once_it_was_accepted() -> None:
    fake = FakeChannel("letters")
    accepted: list[Inbound] = []

    async def accept(message: Inbound) -> object:
        accepted.append(message)
        return "accepted"

    async with fake.spec.open(accept):
        assert await fake.receive("hello", address="family", from_="ann") == "accepted"
        await fake.receive("again", key="7")
    first, second = accepted
    assert (first.channel, first.address, first.sender, first.text) == (
        ChannelName("letters"),
        "family",
        "ann",
        "hello",
    )
    assert (second.key, first.key == second.key) == ("7", False)
