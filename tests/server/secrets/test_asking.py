import asyncio
import threading

import pytest

from salver_server.secrets.asking import Asking, NoAnswer
from tests.fakes.clock import FakeClock


class Prompt:
    """A call that returns once it is answered."""

    def __init__(self) -> None:
        self.shown, self.answered = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.shown.set()
        assert self.answered.wait(20)
        return "answered"


async def test_an_answer_is_given_and_an_error_is_raised(clock: FakeClock) -> None:
    asking = Asking(clock)
    assert await asking.ask(lambda: 7, until=1) == 7
    with pytest.raises(ZeroDivisionError):
        await asking.ask(lambda: 1 // 0, until=1)
    assert not asking.is_open


async def test_whoever_waits_too_long_leaves_and_the_next_waits_for_the_same_answer(
    clock: FakeClock,
) -> None:
    asking, prompt, second = Asking(clock), Prompt(), Prompt()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(outcome(asking, prompt, until=20), name="first")
        await asyncio.to_thread(prompt.shown.wait)
        clock.advance(20)
        assert await first == "no answer"
        assert asking.is_open
        next_one = tasks.create_task(outcome(asking, second, until=40), name="second")
        await clock.asleep()
        assert not second.shown.is_set()
        prompt.answered.set()
        await asyncio.to_thread(second.shown.wait)
        second.answered.set()
        assert await next_one == "answered"
    assert not asking.is_open


async def test_whoever_comes_while_it_is_open_waits_no_longer_than_the_first(
    clock: FakeClock,
) -> None:
    asking, prompt = Asking(clock), Prompt()
    async with asyncio.TaskGroup() as tasks:
        waiting = [
            tasks.create_task(outcome(asking, prompt, until=20), name=f"{number}")
            for number in range(3)
        ]
        await asyncio.to_thread(prompt.shown.wait)
        await clock.asleep(3)
        clock.advance(20)
        assert [await one for one in waiting] == ["no answer"] * 3
        prompt.answered.set()


async def outcome(asking: Asking, prompt: Prompt, *, until: float) -> str:
    try:
        return await asking.ask(prompt, until=until)
    except NoAnswer:
        return "no answer"
