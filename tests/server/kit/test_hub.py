import asyncio

import pytest

from salver_server.kit.hub import LONGEST_QUEUE, Closed, Hub, Lagging


async def test_a_listener_hears_what_is_told_about_its_topic_in_order() -> None:
    hub: Hub[str, int] = Hub()
    with hub.listen("tides") as tides, hub.listen("tides") as too:
        hub.publish("tides", 1)
        hub.publish("stars", 2)
        hub.publish("tides", 3)
        assert [await tides.next(), await tides.next()] == [1, 3]
        assert [await too.next(), await too.next()] == [1, 3]


async def test_nothing_is_kept_for_whoever_comes_later() -> None:
    hub: Hub[str, int] = Hub()
    with hub.listen("tides"):
        hub.publish("tides", 1)
    hub.publish("tides", 2)
    with hub.listen("tides") as late:
        hub.publish("tides", 3)
        assert await late.next() == 3


async def test_a_listener_that_lags_is_told_that_it_has_missed_something() -> None:
    hub: Hub[str, int] = Hub()
    with hub.listen("tides") as slow, hub.listen("tides") as quick:
        for number in range(LONGEST_QUEUE + 10):
            hub.publish("tides", number)
            assert await quick.next() == number
        with pytest.raises(Lagging):
            await slow.next()


async def test_a_full_queue_that_missed_nothing_is_read_to_its_end() -> None:
    hub: Hub[str, int] = Hub()
    with hub.listen("tides") as listener:
        for number in range(LONGEST_QUEUE):
            hub.publish("tides", number)
        assert [await listener.next() for _ in range(LONGEST_QUEUE)] == list(range(LONGEST_QUEUE))


async def test_closing_lets_every_listener_go() -> None:
    hub: Hub[str, int] = Hub()

    async def listen(topic: str) -> str:
        with hub.listen(topic) as listener:
            try:
                while True:
                    await listener.next()
            except Closed:
                return topic

    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(listen(topic), name=topic) for topic in ("tides", "stars")]
        await asyncio.sleep(0)
        hub.publish("tides", 1)
        hub.close()
    assert [task.result() for task in waiting] == ["tides", "stars"]
