import asyncio
import logging

import pytest

from salver_server.kit.background import background, forever


async def test_leaving_the_block_cancels_what_runs_in_it() -> None:
    ended: list[str] = []

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("run")

    async with background() as tasks:
        tasks.create_task(run(), name="run")
        await asyncio.sleep(0)
    assert ended == ["run"]


async def test_what_fails_in_the_block_comes_out_of_it() -> None:
    with pytest.RaisesGroup(ZeroDivisionError):
        async with background():
            raise ZeroDivisionError


async def test_a_loop_that_fails_is_run_again_and_its_failure_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", pause)
    again = asyncio.Event()
    runs = 0

    async def loop() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ZeroDivisionError
        again.set()
        await asyncio.Event().wait()

    async with background() as tasks:
        tasks.create_task(forever(loop), name="loop")
        await again.wait()
    assert len(pauses) == 1
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "loop failed"
    ]
