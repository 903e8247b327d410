"""What the watchdog leaves alone, asks, tells to go, and ends: all by a clock that stands still between two looks."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from salver_server.sessions.live import Live
from salver_server.sessions.watchdog import (
    FAREWELL,
    HELD_UP,
    LONGEST_STEP,
    OBEDIENCE,
    PRESSURE,
    Watchdog,
)
from tests.server.conftest import Desk
from tests.server.sessions.conftest import Scribe
from tests.server.sessions.stage import Stage, set_stage

IDLE, STALL = 60.0, 30.0


@dataclass(slots=True, kw_only=True)
class Watched:
    """The bus with a watchdog over it, which is asleep now."""

    stage: Stage
    watchdog: Watchdog

    async def passes(self, seconds: float) -> None:
        """Time goes by; the watchdog has looked at every step of it."""
        clock = self.stage.clock
        until = clock.elapsed() + seconds
        while clock.elapsed() < until:
            clock.advance(min(LONGEST_STEP, until - clock.elapsed()))
            await clock.asleep()

    async def answered(self, live: Live) -> None:
        """Its runner has answered the first message, and owes nothing."""
        (await self.stage.outbound(live)).write(*Scribe().answer("hi", 1))
        self.stage.outbox.ask(live.session.id)
        await self.stage.until(lambda: self.stage.owed != [])
        await self.stage.quiet()

    async def is_barred(self, live: Live) -> None:
        """Handing over to this session fails, and goes on failing."""
        live.place.inbound.rename(live.place.inbound.with_name("elsewhere"))
        live.place.inbound.mkdir()
        await self.stage.say("and?")
        await self.stage.quiet("inbox.hand-over(")
        assert self.stage.inbox.failures(live.session.id) > 0


@pytest.fixture
async def watched(desk: Desk, quick_path: Path) -> AsyncIterator[Watched]:
    async with set_stage(desk, quick_path, idle=IDLE, stall=STALL) as stage:
        watchdog = Watchdog(stage.house, stage.keeper, stage.inbox)
        stage.tasks.create_task(watchdog.run(), name="watchdog")
        await stage.clock.asleep()
        yield Watched(stage=stage, watchdog=watchdog)


# A turn without progress


async def test_a_turn_without_progress_is_asked_then_told_to_end_then_killed(
    watched: Watched,
) -> None:
    live = await watched.stage.wakes()
    (await watched.stage.outbound(live)).write(Scribe().claim(1))
    watched.stage.outbox.ask(live.session.id)
    await watched.stage.quiet()
    async with watched.stage.on_the_line(live) as runner:
        await watched.passes(STALL - LONGEST_STEP)
        assert live.nudges == 0
        await watched.passes(LONGEST_STEP)
        assert [await runner.told(), await runner.told()] == ["ring", "ping"]
        await watched.passes(PRESSURE)
        assert await runner.told() == "cancel"
        assert live.verdict == ""
        await watched.passes(PRESSURE)
        assert live.verdict == f"It showed no progress for {STALL:g} s."
    await watched.stage.is_buried(live)
    # It has one more try, not two.
    assert await watched.stage.attempts(live.session.id) == [2]


async def test_a_turn_that_asks_for_patience_is_left_alone_for_so_long(watched: Watched) -> None:
    live = await watched.stage.wakes()
    async with watched.stage.on_the_line(live) as runner:
        await watched.stage.shows_progress(runner, seconds=300)
        await watched.passes(300 - LONGEST_STEP)
        assert live.nudges == 0
        await watched.passes(LONGEST_STEP)
        assert live.nudges == 1


async def test_nobody_is_left_alone_for_longer_than_a_turn_may_last(watched: Watched) -> None:
    live = await watched.stage.wakes()
    async with watched.stage.on_the_line(live) as runner:
        await watched.stage.shows_progress(runner, seconds=1e9)
    assert live.patient_until == live.started + live.definition.limits.seconds


async def test_progress_takes_the_pressure_off(watched: Watched) -> None:
    live = await watched.stage.wakes()
    async with watched.stage.on_the_line(live) as runner:
        await watched.passes(STALL + PRESSURE)
        assert live.nudges == 2
        await watched.stage.shows_progress(runner)
        await watched.passes(STALL - LONGEST_STEP)
        assert (live.nudges, live.verdict) == (0, "")


async def test_a_row_is_progress(watched: Watched) -> None:
    live = await watched.stage.wakes()
    await watched.passes(STALL + PRESSURE)
    assert live.nudges == 2
    (await watched.stage.outbound(live)).write(Scribe().claim(1))
    watched.stage.outbox.ask(live.session.id)
    await watched.stage.until(lambda: live.nudges == 0)
    await watched.passes(STALL - LONGEST_STEP)
    assert (live.nudges, live.verdict) == (0, "")


async def test_something_new_gives_a_runner_time_to_begin(watched: Watched) -> None:
    live = await watched.stage.wakes()
    await watched.passes(STALL - LONGEST_STEP)
    await watched.stage.say("and?")
    await watched.stage.quiet()
    await watched.passes(STALL - LONGEST_STEP)
    assert live.nudges == 0


async def test_who_owes_nothing_is_not_hurried(watched: Watched) -> None:
    live = await watched.stage.wakes()
    await watched.answered(live)
    await watched.passes(IDLE - LONGEST_STEP)
    assert (live.nudges, live.retiring) == (0, False)


# What stands in the way of its own messages


async def test_who_keeps_the_inbox_locked_is_ended(watched: Watched) -> None:
    live = await watched.stage.wakes()
    await watched.is_barred(live)
    await watched.passes(HELD_UP)
    assert live.verdict == ""
    await watched.passes(LONGEST_STEP)
    assert live.verdict == f"It kept inbound.db locked for {HELD_UP:g} s."
    assert not live.blameless
    await watched.stage.is_buried(live)


async def test_an_inbox_that_was_locked_for_a_moment_is_forgiven(watched: Watched) -> None:
    live = await watched.stage.wakes()
    await watched.is_barred(live)
    await watched.passes(HELD_UP)
    live.place.inbound.rmdir()
    live.place.inbound.with_name("elsewhere").rename(live.place.inbound)
    watched.stage.inbox.ask(live.session.id)
    await watched.stage.quiet("inbox.hand-over(")
    await watched.passes(LONGEST_STEP)
    await watched.is_barred(live)
    await watched.passes(HELD_UP)
    assert live.verdict == ""


async def test_who_obeys_no_order_is_ended(watched: Watched) -> None:
    live = await watched.stage.wakes()
    await watched.stage.desk.intake.stop(live.session.id)
    watched.stage.inbox.ask(live.session.id)
    await watched.stage.quiet()
    await watched.passes(OBEDIENCE)
    assert live.verdict == ""
    await watched.passes(LONGEST_STEP)
    assert live.verdict == f"It obeyed no order for {OBEDIENCE:g} s."
    await watched.stage.is_buried(live)
    await watched.stage.quiet()
    # What it ignored holds all the same.
    assert (await watched.stage.desk.states(live.session.id))[:2] == ["stopped", "done"]


async def test_who_obeys_an_order_goes_on(watched: Watched) -> None:
    live = await watched.stage.wakes()
    session = live.session.id
    await watched.stage.desk.intake.stop(session)
    watched.stage.inbox.ask(session)
    await watched.stage.quiet()
    await watched.passes(OBEDIENCE)
    file = await watched.stage.outbound(live)
    file.write(Scribe().ack(1, "stopped"), Scribe(seq=1).ack(2, "done"))
    watched.stage.outbox.ask(session)
    await watched.stage.quiet()
    await watched.passes(OBEDIENCE * 2)
    assert (live.verdict, watched.stage.states(session)) == ("", ["live"])


# Leaving


async def test_who_is_idle_is_told_to_leave(watched: Watched) -> None:
    live = await watched.stage.wakes()
    async with watched.stage.on_the_line(live) as runner:
        await watched.answered(live)
        await watched.passes(IDLE - LONGEST_STEP)
        assert not live.retiring
        await watched.passes(LONGEST_STEP)
        assert await runner.told() == "retire"
    assert (live.retiring, live.verdict) == (True, "")


async def test_who_does_not_leave_is_ended_without_blame(watched: Watched) -> None:
    live = await watched.stage.wakes()
    await watched.answered(live)
    watched.stage.keeper.retire(live)
    await watched.passes(LONGEST_STEP)
    assert live.verdict == ""
    await watched.passes(max(FAREWELL, LONGEST_STEP))
    assert (live.verdict, live.blameless) == ("It did not leave when it was asked to.", True)
    await watched.stage.is_buried(live)
    await watched.stage.quiet()
    assert watched.stage.states(live.session.id) == ["asleep"]


async def test_who_still_has_something_to_do_need_not_leave(watched: Watched) -> None:
    live = await watched.stage.wakes()
    watched.stage.keeper.retire(live)
    async with watched.stage.on_the_line(live) as runner:
        await watched.stage.shows_progress(runner, seconds=600)
    await watched.passes(FAREWELL + IDLE + LONGEST_STEP)
    assert live.verdict == ""


async def test_who_lives_on_after_it_was_killed_is_killed_again_and_again(watched: Watched) -> None:
    live = await watched.stage.wakes()
    sandbox = watched.stage.runtime.sandboxes[0]
    sandbox.immortal = True
    watched.stage.keeper.end(live, "It is too loud.")
    for times in (1, 2, 3):
        await sandbox.killed(times)
        await watched.stage.quiet("keeper.kill(")
        assert watched.stage.states(live.session.id) == ["ending"]
        if times == 3:
            sandbox.immortal = False
        await watched.passes(LONGEST_STEP)
    await watched.stage.is_buried(live)
    assert (sandbox.kills, live.verdict) == (4, "It is too loud.")


# Who comes after


async def test_nobody_pays_for_the_one_before(watched: Watched) -> None:
    session = (await watched.stage.wakes()).session.id
    for _ in range(3):
        live = await watched.stage.lives(session)
        await watched.is_barred(live)
        await watched.passes(HELD_UP)
        live.place.inbound.rmdir()
        live.place.inbound.with_name("elsewhere").rename(live.place.inbound)
        await watched.stage.dies(live)
    assert (await watched.stage.lives(session)).verdict == ""


async def test_of_those_who_ended_nothing_is_remembered(watched: Watched) -> None:
    live = await watched.stage.wakes()
    await watched.is_barred(live)
    await watched.passes(LONGEST_STEP)
    held = watched.watchdog._since  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] a leak shows nowhere else
    assert len(held) == 1
    await watched.stage.keeper.stop()
    await watched.passes(LONGEST_STEP)
    held = watched.watchdog._since  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] a leak shows nowhere else
    assert held == {}
