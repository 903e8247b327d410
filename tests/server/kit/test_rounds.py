import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from salver_server.errors import Transient
from salver_server.kit.background import background
from salver_server.kit.rounds import Rounds

PATIENCE = 10.0


class Work:
    """Work that is done when the test lets it, or fails as the test says."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.fails: list[Exception | None] = []
        self.lets: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Event()

    async def __call__(self, key: str) -> None:
        self.begun.append(key)
        self._changed.set()
        if let := self.lets.get(key):
            await let.wait()
        if self.fails and (failure := self.fails.pop(0)):
            raise failure

    async def has_begun(self, times: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.begun) < times:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def rounds(work: Callable[[str], Awaitable[None]]) -> AsyncGenerator[Rounds[str]]:
    async with background() as tasks:
        yield Rounds("work", work, tasks)


async def settled() -> None:
    """Everything that can run without waiting has run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_asking_twice_is_asking_once() -> None:
    work = Work()
    async with rounds(work) as asked:
        asked.ask("a")
        asked.ask("a")
        await work.has_begun(1)
        await settled()
    assert work.begun == ["a"]


async def test_a_key_is_worked_on_by_one_at_a_time_and_many_keys_at_once() -> None:
    work = Work()
    work.lets = {"a": asyncio.Event(), "b": asyncio.Event()}
    async with rounds(work) as asked:
        asked.ask("a")
        asked.ask("b")
        await work.has_begun(2)
        asked.ask("a")
        await settled()
        assert work.begun == ["a", "b"]


async def test_what_is_asked_for_during_the_work_is_done_once_more_afterwards() -> None:
    work = Work()
    work.lets = {"a": asyncio.Event()}
    async with rounds(work) as asked:
        asked.ask("a")
        await work.has_begun(1)
        for _ in range(5):
            asked.ask("a")
        work.lets["a"].set()
        await work.has_begun(2)
        await settled()
        assert work.begun == ["a", "a"]


async def test_work_that_fails_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    work.fails = [ZeroDivisionError(), None]
    async with rounds(work) as asked:
        asked.ask("a")
        await work.has_begun(2)
        await settled()
        assert asked.failures("a") == 0
    assert [record.message for record in caplog.records] == ["work failed"]


async def test_work_that_can_not_be_done_yet_is_tried_again_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Work()
    work.fails = [Transient("locked", retry_after=0), Transient("locked", retry_after=0), None]
    with caplog.at_level(logging.INFO):
        async with rounds(work) as asked:
            asked.ask("a")
            await work.has_begun(3)
    assert caplog.records == []


async def test_failures_in_a_row_are_counted_until_the_work_is_done() -> None:
    work = Work()
    work.fails = [Transient("locked", retry_after=3600)] * 3
    async with rounds(work) as asked:
        for times in (1, 2, 3):
            asked.ask("a")
            await work.has_begun(times)
            await settled()
            assert asked.failures("a") == times
        asked.ask("a")
        await work.has_begun(4)
        await settled()
        assert asked.failures("a") == 0


async def test_asking_does_not_wait_for_the_next_attempt() -> None:
    work = Work()
    work.fails = [Transient("not before tomorrow", retry_after=86400), None]
    async with rounds(work) as asked:
        asked.ask("a")
        await work.has_begun(1)
        await settled()
        asked.ask("a")
        await work.has_begun(2)


async def test_what_is_asked_for_during_work_that_fails_is_not_put_off_with_it() -> None:
    work = Work()
    work.lets = {"a": asyncio.Event()}
    work.fails = [Transient("not before tomorrow", retry_after=86400), None]
    async with rounds(work) as asked:
        asked.ask("a")
        await work.has_begun(1)
        asked.ask("a")
        work.lets["a"].set()
        await work.has_begun(2)


async def test_nothing_is_tried_again_once_the_house_is_closed() -> None:
    loop = asyncio.get_running_loop()
    errors: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    work = Work()
    work.fails = [Transient("soon", retry_after=0.001)]
    async with rounds(work) as asked:
        asked.ask("a")
        await work.has_begun(1)
        await settled()
    over = asyncio.Event()
    loop.call_later(0.01, over.set)  # later than the next attempt would have been
    await over.wait()
    assert (work.begun, errors) == (["a"], [])
