import asyncio
import logging
from datetime import timedelta

import pytest

from salver_server.clock import LONGEST_SLEEP
from salver_server.delivery.courier import BACK_OFF, FOR_A_PERSON, MOST_ATTEMPTS
from salver_server.errors import Conflict, Missing, NeedsUser, Rejected, Transient
from salver_server.files import store as files
from salver_server.ids import DeliveryId, FileId
from salver_server.messages import File, Placed
from tests.fakes.channel import FakeChannel
from tests.server.delivery.conftest import OUTGOING, Post


async def test_what_is_owed_is_sent_and_its_receipt_kept(post: Post) -> None:
    id_ = await post.owe("hello")
    async with post.courier():
        await post.changed()
    assert post.channel.sent_to("family") == ["hello"]
    assert await post.row(id_) == {
        "state": "delivered",
        "attempts": 1,
        "next_at": "",
        "receipt": "fake-1",
        "reason": "",
    }


async def test_the_platform_is_told_what_it_needs_to_know(post: Post) -> None:
    id_ = await post.owe("hello")
    async with post.courier():
        await post.changed()
    (message,) = post.channel.sent
    assert (message.id, message.chat, message.address) == (id_, post.chats["family"], "family")
    assert (message.kind, message.text, len(message.answers)) == ("reply", "hello", 1)


async def test_a_chat_gets_everything_in_order(post: Post) -> None:
    for number in range(5):
        await post.owe(f"{number}")
    async with post.courier():
        await post.changed(5)
    assert post.channel.sent_to("family") == ["0", "1", "2", "3", "4"]


async def test_what_waits_keeps_its_place_before_what_came_later(post: Post) -> None:
    post.channel.refuse(Transient("busy", retry_after=60))
    await post.owe("one")
    async with post.courier() as courier:
        await post.changed()
        await post.owe("two")
        courier.ask(post.chats["family"])
        await settled(post)
        assert post.channel.sent == []
        post.desk.clock.advance(60)
        courier.ask(post.chats["family"])
        await post.changed(3)
    assert post.channel.sent_to("family") == ["one", "two"]


async def test_a_slow_chat_delays_only_itself(post: Post) -> None:
    awake = post.channel.dawdle("family")
    await post.owe("slow", to="family")
    await post.owe("quick", to="work")
    async with post.courier():
        await post.changed()
        assert (post.channel.sent_to("work"), post.channel.sent_to("family")) == (["quick"], [])
        awake.set()
        await post.changed(2)
    assert post.channel.sent_to("family") == ["slow"]


async def test_an_attempt_that_may_succeed_later_is_made_again_later_and_later(post: Post) -> None:
    id_ = await post.owe("hello")
    post.channel.refuse(*[Transient("The platform is busy.")] * 3)
    waits: list[float] = []
    async with post.courier() as courier:
        for attempt in (1, 2, 3):
            await post.changed(attempt)
            row = await post.row(id_)
            assert (row["state"], row["attempts"], row["reason"]) == (
                "waiting",
                attempt,
                "The platform is busy.",
            )
            waits.append(BACK_OFF[attempt - 1])
            assert row["next_at"] == post.desk.clock.stamp(waits[-1])
            post.desk.clock.advance(waits[-1])
            courier.ask(post.chats["family"])
        await post.changed(4)
    assert waits == sorted(set(waits))
    assert (await post.row(id_))["reason"] == ""
    assert post.channel.sent_to("family") == ["hello"]


async def test_a_platform_that_says_how_long_to_wait_is_obeyed(post: Post) -> None:
    id_ = await post.owe("hello")
    post.channel.refuse(Transient("slow down", retry_after=77))
    async with post.courier():
        await post.changed()
    assert (await post.row(id_))["next_at"] == post.desk.clock.stamp(77)


async def test_after_its_attempts_a_delivery_has_failed(post: Post) -> None:
    id_ = await post.owe("hello")
    await post.owe("next")
    post.channel.refuse(*[Transient("The platform is down.")] * MOST_ATTEMPTS)
    async with post.courier() as courier:
        for attempt in range(1, MOST_ATTEMPTS):
            await post.changed(attempt)
            assert await post.state(id_) == "waiting"
            post.desk.clock.advance(3600)
            courier.ask(post.chats["family"])
        await post.changed(MOST_ATTEMPTS + 1)
    row = await post.row(id_)
    assert (row["state"], row["reason"]) == ("failed", "The platform is down.")
    assert post.channel.sent_to("family") == ["next"]


async def test_what_can_never_be_sent_fails_at_once_and_delays_nobody(post: Post) -> None:
    id_ = await post.owe("too long")
    await post.owe("next")
    post.channel.refuse(Rejected("The platform takes no such message."))
    async with post.courier():
        await post.changed(2)
    row = await post.row(id_)
    assert (row["state"], row["attempts"]) == ("failed", 1)
    assert row["reason"] == "The platform takes no such message."
    assert post.channel.sent_to("family") == ["next"]


async def test_what_needs_a_person_keeps_its_place_until_the_person_has_acted(post: Post) -> None:
    id_ = await post.owe("hello")
    post.channel.refuse(NeedsUser("Paste a new token."))
    async with post.courier() as courier:
        await post.changed()
        row = await post.row(id_)
        assert (row["state"], row["reason"]) == ("waiting", "Paste a new token.")
        assert row["next_at"] == post.desk.clock.stamp(FOR_A_PERSON)
        post.desk.clock.advance(FOR_A_PERSON)
        courier.ask(post.chats["family"])
        await post.changed(2)
    assert post.channel.sent_to("family") == ["hello"]


async def test_waiting_for_a_person_uses_up_no_attempt(post: Post) -> None:
    id_ = await post.owe("hello")
    minutes = MOST_ATTEMPTS * 2
    post.channel.refuse(*[NeedsUser("Paste a new token.")] * minutes, Transient("busy"))
    async with post.courier() as courier:
        for minute in range(minutes):
            await post.changed(minute + 1)
            post.desk.clock.advance(FOR_A_PERSON)
            courier.ask(post.chats["family"])
        await post.changed(minutes + 1)
        assert (await post.row(id_))["next_at"] == post.desk.clock.stamp(BACK_OFF[0])
        post.desk.clock.advance(BACK_OFF[0])
        courier.ask(post.chats["family"])
        await post.changed(minutes + 2)
    assert post.channel.sent_to("family") == ["hello"]


async def test_a_channel_that_is_not_open_needs_a_person(post: Post) -> None:
    id_ = await post.owe("hello")
    async with post.courier(connected=False):
        await post.changed()
    row = await post.row(id_)
    assert (row["state"], row["reason"]) == (
        "waiting",
        "The channel 'fake' is not open. Connect it.",
    )


async def test_a_delivery_that_waits_long_is_looked_at_in_between(post: Post) -> None:
    # The wall clock may be set meanwhile, and the computer may sleep.
    clock = post.desk.clock
    await post.owe("hello")
    post.channel.refuse(Transient("not today", retry_after=86400))
    async with post.courier():
        await clock.asleep()
        clock.set(clock.now() + timedelta(days=1))
        clock.advance(LONGEST_SLEEP)
        await post.changed(2)
    assert post.channel.sent_to("family") == ["hello"]


# Not knowing whether it arrived


async def test_an_unknown_end_leaves_open_whether_it_arrived(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    id_ = await post.owe("hello")
    await post.owe("next")
    post.channel.lose_answers(ConnectionResetError())
    async with post.courier():
        await post.changed(2)
    row = await post.row(id_)
    assert row["state"] == "perhaps"
    assert "whether it arrived is not known" in row["reason"]
    assert post.channel.sent_to("family") == ["hello", "next"]
    assert [record.message for record in caplog.records] == ["channel failed"]


async def test_where_twice_is_once_an_unknown_end_is_tried_again(post: Post) -> None:
    post.channel = FakeChannel(idempotent=True)
    id_ = await post.owe("hello")
    post.channel.lose_answers(ConnectionResetError())
    async with post.courier() as courier:
        await post.changed()
        assert await post.state(id_) == "waiting"
        post.desk.clock.advance(BACK_OFF[0])
        courier.ask(post.chats["family"])
        await post.changed(2)
    assert await post.state(id_) == "delivered"
    assert (len(post.channel.calls), post.channel.sent_to("family")) == (2, ["hello"])


async def test_a_delivery_is_on_record_before_the_platform_is_called(post: Post) -> None:
    awake = post.channel.dawdle("family")
    id_ = await post.owe("hello")
    async with post.courier():
        await post.channel.called(1)
        assert await post.state(id_) == "sending"
        awake.set()
        await post.changed()


async def test_where_twice_is_once_nothing_is_noted_before_and_receipts_share_a_commit(
    post: Post,
) -> None:
    post.channel = FakeChannel(idempotent=True)
    awake = post.channel.dawdle("family")
    ids = [await post.owe(f"{number}") for number in range(5)]
    async with post.courier():
        await post.channel.called(1)
        assert await post.state(ids[0]) == "waiting"
        awake.set()
        await post.changed()
    assert [await post.state(id_) for id_ in ids] == ["delivered"] * 5
    assert [(await post.row(id_))["attempts"] for id_ in ids] == [1] * 5
    assert post.channel.sent_to("family") == ["0", "1", "2", "3", "4"]


async def test_where_twice_is_once_a_refusal_keeps_the_order_of_those_behind_it(post: Post) -> None:
    post.channel = FakeChannel(idempotent=True)
    ids = [await post.owe(text) for text in ("bad", "good", "busy", "last")]
    post.channel.refuse(Rejected("too long"))
    async with post.courier() as courier:
        await post.channel.called(2)
        post.channel.refuse(Transient("busy", retry_after=60))
        await post.changed(2)
        while await post.state(ids[-1]) != "delivered":
            post.desk.clock.advance(60)
            courier.ask(post.chats["family"])
            await post.changed(len(post.changes) + 1)
    assert await post.state(ids[0]) == "failed"
    assert post.channel.sent_to("family") == ["good", "busy", "last"]


async def test_a_wall_clock_that_is_set_back_delays_nothing(post: Post) -> None:
    await post.owe("hello")
    post.desk.clock.set(post.desk.clock.now() - timedelta(days=1))
    async with post.courier():
        await post.changed()
    assert post.channel.sent_to("family") == ["hello"]


async def test_a_receipt_that_can_not_be_kept_does_not_send_twice(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    id_ = await post.owe("hello")
    await full_for(post, "delivered")
    async with post.courier() as courier:
        await post.channel.called(1)
        await settled(post)
        await room(post)
        courier.ask(post.chats["family"])
        await post.changed()
    assert await post.state(id_) == "perhaps"
    assert post.channel.sent_to("family") == ["hello"]
    assert "work failed" in [record.message for record in caplog.records]


async def test_where_twice_is_once_a_receipt_that_could_not_be_kept_is_asked_for_again(
    post: Post,
) -> None:
    post.channel = FakeChannel(idempotent=True)
    id_ = await post.owe("hello")
    await full_for(post, "delivered")
    async with post.courier() as courier:
        await post.channel.called(1)
        await settled(post)
        await room(post)
        while await post.state(id_) != "delivered":
            post.desk.clock.advance(BACK_OFF[-1])
            courier.ask(post.chats["family"])
            await post.changed(len(post.changes) + 1)
    assert post.channel.sent_to("family") == ["hello"]


# After a crash


async def test_what_waited_at_a_crash_is_sent_at_the_next_start(post: Post) -> None:
    one, two = await post.owe("one"), await post.owe("two", to="work")
    async with post.courier():
        await post.changed(2)
    assert [await post.state(id_) for id_ in (one, two)] == ["delivered", "delivered"]


async def test_what_was_being_sent_at_a_crash_has_perhaps_arrived(post: Post) -> None:
    id_ = await post.owe("hello")
    await post.owe("next")
    await post.put(id_, "sending")
    async with post.courier():
        await post.changed()
    row = await post.row(id_)
    assert row["state"] == "perhaps"
    assert row["reason"].startswith("Salver ended while this was being sent")
    assert post.channel.sent_to("family") == ["next"]


async def test_where_twice_is_once_what_was_being_sent_at_a_crash_is_sent_again(
    post: Post,
) -> None:
    post.channel = FakeChannel(idempotent=True)
    id_ = await post.owe("hello")
    await post.put(id_, "sending")
    async with post.courier():
        await post.changed()
    assert await post.state(id_) == "delivered"
    assert post.channel.sent_to("family") == ["hello"]


# Again, because a person says so


@pytest.mark.parametrize("state", ["failed", "perhaps"])
async def test_a_person_may_send_again_what_failed_or_perhaps_arrived(
    post: Post, state: str
) -> None:
    id_ = await post.owe("hello")
    await post.put(id_, state)
    async with post.courier() as courier:
        await courier.resend(id_)
        await post.changed()
    row = await post.row(id_)
    assert (row["state"], row["attempts"]) == ("delivered", 1)


async def test_what_is_sent_again_does_not_wait_for_what_comes_after_it(post: Post) -> None:
    id_ = await post.owe("hello")
    later = await post.owe("later")
    await post.put(id_, "failed")
    post.channel.refuse(Transient("not now", retry_after=3600))
    async with post.courier() as courier:
        await post.changed()
        await courier.resend(id_)
        await post.changed(2)
    assert post.channel.sent_to("family") == ["hello"]
    assert await post.state(later) == "waiting"


@pytest.mark.parametrize("state", ["waiting", "delivered"])
async def test_what_is_on_its_way_or_has_arrived_is_not_sent_again(post: Post, state: str) -> None:
    awake = post.channel.dawdle("family")
    id_ = await post.owe("hello")
    await post.put(id_, state)
    async with post.courier() as courier:
        with pytest.raises(Conflict, match="neither failed nor in doubt"):
            await courier.resend(id_)
        awake.set()


async def test_what_is_not_there_can_not_be_sent_again(post: Post) -> None:
    async with post.courier() as courier:
        with pytest.raises(Missing, match="There is no delivery 'del-nothing'"):
            await courier.resend(DeliveryId("del-nothing"))


async def test_nothing_is_said_about_what_went_well(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    await post.owe("hello")
    with caplog.at_level(logging.WARNING):
        async with post.courier():
            await post.changed()
    assert caplog.records == []


async def test_a_channel_is_told_where_the_files_lie_that_it_sends(post: Post) -> None:
    id_ = await post.owe("look")
    file = File(id=FileId("fil-1"), name="a.txt", type="text/plain", size=5)
    await post.desk.database.write(lambda conn: files.attach(conn, [file], delivery=id_))
    async with post.courier():
        await post.changed()
    (message,) = post.channel.sent
    assert message.files == (Placed(file=file, path=OUTGOING / id_ / "a.txt"),)


async def settled(post: Post) -> None:
    """What was begun has come to its end, and what follows from it too."""
    for _ in range(3):
        await post.desk.database.read(lambda _: None)
        await post.desk.database.write(lambda _: None)
        await asyncio.sleep(0)


async def full_for(post: Post, state: str) -> None:
    """There is no room on the disk for a delivery to get into this state."""
    await post.desk.database.write(
        lambda conn: conn.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON deliveries"
            f" WHEN new.state = '{state}' BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    )


async def room(post: Post) -> None:
    await post.desk.database.write(lambda conn: conn.execute("DROP TRIGGER full"))
