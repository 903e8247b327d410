"""Waking and retiring: one owner per session, and no start before a confirmed death."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from salver_server.accounts import Choice
from salver_server.agents import store as agents
from salver_server.errors import Broken, NeedsUser, Transient
from salver_server.ids import AgentName, SessionId
from salver_server.sessions import keeper, launch, store
from salver_server.sessions.keeper import CRASH_BACK_OFF, RETRY_BURIAL, RETRY_START
from tests.fakes.stage import NAME, StageRuntime
from tests.server.conftest import SALVER, Desk
from tests.server.sessions.conftest import Scribe
from tests.server.sessions.stage import CHANGED_AGENT, DEMO, FIRST_AGENT, INSTALL, Stage, set_stage

# Waking


async def test_what_is_due_wakes_one_sandbox(stage: Stage) -> None:
    session = await stage.say("one")
    await stage.lives(session)
    await stage.say("two")
    stage.keeper.ask(session)
    await stage.quiet()
    (sandbox,) = stage.runtime.sandboxes
    assert (sandbox.mark.session, sandbox.mark.generation) == (session, 1)
    (row,) = await stage.on_record()
    assert (row.session, row.generation, row.runtime) == (session, 1, NAME)
    assert row.handle == sandbox.mark.handle
    assert stage.gate.open_for == {session}
    assert stage.states(session) == ["live"]


async def test_the_generation_is_raised_before_the_start(stage: Stage) -> None:
    with stage.runtime.dawdling():
        session = await stage.say()
        asked = await stage.runtime.asked()
        assert (await stage.desk.session(session)).generation == asked.generation == 1
        (row,) = await stage.on_record()
        assert (row.generation, row.handle) == (1, None)
        told = json.loads(stage.place(session).launch.read_text(encoding="utf-8"))
        assert (told["session"], told["generation"]) == (session, 1)
    await stage.lives(session)


async def test_nothing_due_wakes_nobody(stage: Stage) -> None:
    live = await stage.wakes()
    session = live.session.id
    await stage.desk.intake.stop(session)
    stage.inbox.ask(session)
    file = await stage.outbound(live)
    file.write(Scribe().ack(1, "stopped"), Scribe(seq=1).ack(2, "done"))
    await stage.dies(live)
    now = stage.clock.stamp()
    await stage.desk.database.write(lambda conn: store.note(conn, session, "By the way.", now))
    stage.inbox.ask(session)
    await stage.quiet()
    assert await stage.desk.states(session) == ["stopped", "done", "queued"]
    assert (len(stage.runtime.launches), stage.states(session)) == (1, ["asleep"])


async def test_an_ask_while_it_starts_starts_nothing_more(stage: Stage) -> None:
    with stage.runtime.dawdling():
        session = await stage.say()
        await stage.runtime.asked()
        for _ in range(3):
            stage.keeper.ask(session)
        stage.keeper.handed(session)
        assert stage.states(session) == ["starting"]
    await stage.quiet()
    assert (len(stage.runtime.launches), stage.states(session)) == (1, ["live"])


async def test_nobody_starts_before_the_one_before_is_buried(stage: Stage) -> None:
    live = await stage.wakes()
    session = live.session.id
    file = await stage.outbound(live)
    with file.open() as conn:
        conn.execute("BEGIN EXCLUSIVE")
        stage.runtime.sandboxes[0].end()
        await stage.clock.asleep()  # the burial waits until it can read
        stage.keeper.ask(session)
        await stage.quiet("keeper.keep(")
        assert len(stage.runtime.launches) == 1
        assert [row.generation for row in await stage.on_record()] == [1]
    stage.clock.advance(1)
    await stage.runtime.started(2)
    assert [launch.generation for launch in stage.runtime.launches] == [1, 2]


async def test_how_far_the_preparations_are_can_be_seen_while_they_last(stage: Stage) -> None:
    stage.gate.prepared.clear()
    session = await stage.say()
    await stage.until(lambda: stage.keeper.preparing(session) != "")
    assert stage.keeper.preparing(session) == "Preparing demo."
    assert stage.states(session) == ["starting"]
    stage.gate.prepared.set()
    await stage.lives(session)
    await stage.quiet()
    assert stage.keeper.preparing(session) == ""


async def test_an_order_before_there_was_an_owner_leaves_nothing_to_start(stage: Stage) -> None:
    stage.gate.prepared.clear()
    session = await stage.say()
    await stage.until(lambda: stage.keeper.preparing(session) != "")
    await stage.desk.intake.stop(session)
    stage.gate.prepared.set()
    await stage.quiet()
    assert await stage.desk.states(session) == ["stopped"]
    assert (stage.runtime.launches, await stage.on_record()) == ([], [])
    assert stage.states(session) == ["asleep"]


async def test_an_order_after_there_was_an_owner_waits_for_the_runner(stage: Stage) -> None:
    with stage.runtime.dawdling():
        session = await stage.say()
        await stage.runtime.asked()
        await stage.desk.intake.stop(session)
        stage.inbox.ask(session)
    await stage.lives(session)
    await stage.quiet()
    assert await stage.desk.states(session) == ["queued", "queued"]


async def test_the_sweep_wakes_whom_everybody_has_forgotten(stage: Stage) -> None:
    found = await stage.desk.intake(stage.desk.message())
    (session,) = found.sessions
    await stage.desk.queue(session)
    stage.tasks.create_task(stage.keeper.sweep(), name="sweep")
    await stage.clock.asleep()
    stage.clock.advance(stage.house.settings.sweep)
    await stage.lives(session)


async def test_the_sweep_reads_what_nobody_rang_for(stage: Stage) -> None:
    live = await stage.wakes()
    (await stage.outbound(live)).write(*Scribe().answer("hi", 1))
    stage.tasks.create_task(stage.keeper.sweep(), name="sweep")
    await stage.clock.asleep()
    stage.clock.advance(stage.house.settings.sweep)
    await stage.until(lambda: stage.owed != [])
    assert await stage.desk.states(live.session.id) == ["answered"]


async def test_a_doorbell_is_answered_with_a_look(stage: Stage) -> None:
    live = await stage.wakes()
    (await stage.outbound(live)).write(*Scribe().answer("hi", 1))
    async with stage.on_the_line(live) as runner:
        runner.say(frame="ring")
        await stage.until(lambda: stage.owed != [])
    assert await stage.desk.states(live.session.id) == ["answered"]


async def test_a_runner_is_rung_when_something_was_handed_over(stage: Stage) -> None:
    live = await stage.wakes()
    async with stage.on_the_line(live) as runner:
        await stage.say("and?")
        assert await runner.told() == "ring"


# What a start may lack


async def test_a_start_that_needs_a_person_says_so_until_one_has_helped(stage: Stage) -> None:
    stage.runtime.refusal = NeedsUser("Install bubblewrap.")
    session = await stage.say()
    assert await stage.in_trouble(session) == "Install bubblewrap."
    await stage.quiet()
    assert (stage.states(session), await stage.on_record()) == (["asleep"], [])
    assert len(stage.runtime.launches) == 1  # it waits for the person, and bothers nobody
    stage.runtime.refusal = None
    stage.keeper.ask(session)
    await stage.lives(session)
    await stage.quiet()
    assert await stage.trouble(session) == ""


async def test_a_start_that_needs_a_person_is_tried_again_by_itself(stage: Stage) -> None:
    stage.runtime.refusal = NeedsUser("Install bubblewrap.")
    session = await stage.say()
    await stage.in_trouble(session)
    stage.runtime.refusal = None
    await stage.clock.asleep()
    stage.clock.advance(RETRY_START)
    await stage.lives(session)


async def test_nothing_starts_below_the_floor_of_free_space(desk: Desk, quick_path: Path) -> None:
    async with set_stage(desk, quick_path, keep_free=2**60) as stage:
        session = await stage.say()
        trouble = await stage.in_trouble(session)
        assert f"below {2**40} MB" in trouble
        assert "Free some space" in trouble
        assert (stage.runtime.launches, await stage.on_record()) == ([], [])


async def test_an_agent_that_wants_a_runtime_of_elsewhere_is_told_of(stage: Stage) -> None:
    await stage.house.agents.put(SALVER, "---\nruntime: docker\n---\n")
    session = await stage.say()
    assert "wants the runtime 'docker'" in await stage.in_trouble(session)
    assert stage.runtime.launches == []


# The end of a sandbox


async def test_deaths_in_a_row_are_answered_ever_more_slowly(stage: Stage) -> None:
    session = await stage.say("one")
    for text in ("two", "three"):
        await stage.say(text)
    for deaths, wait in enumerate([*CRASH_BACK_OFF, CRASH_BACK_OFF[-1]], start=1):
        live = await stage.lives(session)
        await stage.dies(live, code=1)
        if wait:
            await stage.clock.asleep()
            stage.clock.advance(wait - 0.25)
            await stage.quiet()
            assert len(stage.runtime.launches) == deaths
            stage.clock.advance(0.25)
        await stage.runtime.started(deaths + 1)


async def test_a_turn_that_was_closed_makes_up_for_earlier_deaths(stage: Stage) -> None:
    session = await stage.say("one")
    await stage.say("two")
    await stage.dies(await stage.lives(session), code=1)
    live = await stage.lives(session)
    (await stage.outbound(live)).write(*Scribe().answer("hi", 1))
    stage.outbox.ask(session)
    await stage.until(lambda: stage.owed != [])
    await stage.dies(live, code=1)
    await stage.runtime.started(3)
    assert await stage.desk.states(session) == ["answered", "queued"]


async def test_a_runner_that_leaves_by_itself_has_not_crashed(stage: Stage) -> None:
    session = await stage.say()
    for generation in range(1, 6):
        await stage.dies(await stage.lives(session), code=0)
        await stage.runtime.started(generation + 1)
    assert await stage.attempts(session) == [0]


async def test_a_runner_that_dies_again_and_again_costs_its_message_alone(stage: Stage) -> None:
    session = await stage.say("poison")
    await stage.say("bread")
    for wait in CRASH_BACK_OFF[:3]:
        await stage.dies(await stage.lives(session), code=1)
        if wait:
            await stage.clock.asleep()
            stage.clock.advance(wait)
    await stage.lives(session)
    assert (await stage.desk.states(session))[:2] == ["failed", "queued"]
    assert len(stage.owed) == 1


async def test_the_end_of_a_sandbox_shuts_its_sockets(stage: Stage) -> None:
    live = await stage.wakes()
    assert live.place.line_socket.exists()
    await stage.keeper.stop()
    assert (stage.gate.open_for, live.place.line.exists()) == (set(), False)
    assert await stage.on_record() == []


async def test_who_cannot_be_killed_keeps_its_session_to_itself(stage: Stage) -> None:
    live = await stage.wakes()
    session, sandbox = live.session.id, stage.runtime.sandboxes[0]
    sandbox.immortal = True
    stage.keeper.end(live, "It is too loud.")
    assert await stage.in_trouble(session) == "Its sandbox could not be ended: It does not die."
    await stage.say("and?")
    await stage.quiet()
    assert (len(stage.runtime.launches), stage.states(session)) == (1, ["ending"])
    assert [row.generation for row in await stage.on_record()] == [1]
    sandbox.end(code=-9)
    await stage.runtime.started(2)
    await stage.quiet()
    assert await stage.trouble(session) == ""


async def test_a_kill_that_cannot_even_be_told_of_takes_nobody_along(stage: Stage) -> None:
    live = await stage.wakes()
    sandbox = stage.runtime.sandboxes[0]
    sandbox.immortal = True
    await stage.forbid("UPDATE OF trouble ON sessions")
    stage.keeper.end(live, "It is too loud.")
    await stage.quiet()
    await stage.wakes(thread="another")
    await stage.allow()
    sandbox.immortal = False
    stage.keeper.insist(live)
    await stage.is_buried(live)


async def test_a_trouble_that_is_over_is_not_told_of_any_longer(stage: Stage) -> None:
    live = await stage.wakes()
    session, sandbox = live.session.id, stage.runtime.sandboxes[0]
    (await stage.outbound(live)).write(*Scribe().answer("hi", 1))
    sandbox.immortal = True
    stage.keeper.end(live, "It is too loud.", blameless=True)
    await stage.in_trouble(session)
    sandbox.end(code=-9)
    await stage.is_buried(live)
    await stage.quiet()
    assert (stage.states(session), await stage.trouble(session)) == (["asleep"], "")


async def test_a_file_that_is_not_trusted_ends_its_sandbox_and_is_put_aside(stage: Stage) -> None:
    live = await stage.wakes()
    session = live.session.id
    (await stage.outbound(live)).write(Scribe().claim(9))
    stage.outbox.ask(session)
    await stage.is_buried(live)
    assert stage.runtime.sandboxes[0].kills == 1
    assert live.verdict == (
        "Its outbound.db could not be trusted: message 9 was never handed over."
    )
    (aside,) = live.place.outbox.parent.glob("out.aside-*")
    assert (aside / "outbound.db").exists()
    await stage.runtime.started(2)
    told = json.loads(live.place.launch.read_text(encoding="utf-8"))
    assert told["epoch"] == (await stage.desk.session(session)).epoch != live.session.epoch


async def test_the_sandbox_of_a_session_that_was_closed_ends(stage: Stage) -> None:
    live = await stage.wakes()
    session, now = live.session.id, stage.clock.stamp()
    await stage.desk.database.write(lambda conn: store.close_session(conn, session, now))
    stage.keeper.end_session(session, "Its agent was removed.")
    stage.keeper.end_session(SessionId("ses-nobody"), "Its agent was removed.")
    await stage.is_buried(live)
    await stage.quiet()
    assert (len(stage.runtime.launches), stage.states(session)) == (1, ["asleep"])


# A full house


@pytest.fixture
async def small(desk: Desk, quick_path: Path) -> AsyncIterator[Stage]:
    """A house with two places."""
    async with set_stage(desk, quick_path, most_sandboxes=2) as stage:
        yield stage


async def test_in_a_full_house_who_has_been_idle_longest_makes_room(small: Stage) -> None:
    first = await small.wakes(thread="first")
    second = await small.wakes(thread="second")
    small.clock.advance(1)
    await small.say("and?", thread="first")
    await small.quiet()
    third = await small.say(thread="third")
    await small.until(lambda: second.retiring)
    assert not first.retiring
    assert small.states(first.session.id, second.session.id, third) == ["live", "ending", "waiting"]
    (await small.outbound(second)).write(*Scribe().answer("hi", 1))
    await small.dies(second)
    await small.lives(third)


async def test_who_is_to_leave_is_told_so_even_if_it_was_not_on_the_line(small: Stage) -> None:
    live = await small.wakes(thread="first")
    small.keeper.retire(live)
    async with small.on_the_line(live) as runner:
        assert await runner.told() == "retire"


async def test_who_waits_for_a_place_gets_one_in_the_order_of_coming(small: Stage) -> None:
    for thread in ("first", "second"):
        await small.wakes(thread=thread)
    waiting = [await waits(small, thread) for thread in ("third", "fourth", "fifth")]
    for number, session in enumerate(waiting):
        live = next(live for live in small.keeper.all_live() if live.retiring)
        (await small.outbound(live)).write(*Scribe().answer("hi", 1))
        await small.dies(live)
        await small.lives(session)
        await small.quiet()
        assert small.states(*waiting[number + 1 :]) == ["waiting"] * (2 - number)
    assert [launch.session for launch in small.runtime.launches][2:] == waiting


async def test_two_places_that_are_left_at_once_go_to_two_who_wait(small: Stage) -> None:
    leaving = [await small.wakes(thread=thread) for thread in ("first", "second")]
    for live in leaving:
        (await small.outbound(live)).write(*Scribe().answer("hi", 1))
    waiting = [await waits(small, thread) for thread in ("third", "fourth")]
    for sandbox in small.runtime.living:
        sandbox.end()
    for live in leaving:
        await small.is_buried(live)
    await small.quiet()
    assert small.states(*waiting) == ["live", "live"]


async def test_who_came_while_all_places_were_only_being_taken_is_made_room_for(
    small: Stage,
) -> None:
    with small.runtime.dawdling():
        taking = [await small.say(thread=thread) for thread in ("first", "second")]
        await small.runtime.asked(2)
        await waits(small, "third")
    for session in taking:
        await small.lives(session)
    await small.until(lambda: any(live.retiring for live in small.keeper.all_live()))


async def test_who_waits_for_nothing_any_longer_has_nobody_leave(small: Stage) -> None:
    for thread in ("first", "second"):
        await small.wakes(thread=thread)
    third, fourth = await waits(small, "third"), await waits(small, "fourth")
    for session in (third, fourth):
        await small.desk.intake.stop(session)
        small.keeper.reconsider(session)
    await small.quiet()
    assert small.states(third, fourth) == ["asleep", "asleep"]


async def test_one_that_is_being_killed_is_as_good_as_gone(small: Stage) -> None:
    first, second = [await small.wakes(thread=thread) for thread in ("first", "second")]
    small.runtime.of(second.session.id)[0].immortal = True
    small.keeper.end(second, "It is too loud.")
    await waits(small, "third")
    assert not first.retiring


async def test_who_needs_a_person_keeps_no_place_from_others(small: Stage) -> None:
    await small.wakes(thread="first")
    small.runtime.refusal = NeedsUser("Install bubblewrap.")
    second = await small.say(thread="second")
    await small.in_trouble(second)
    await small.quiet()
    small.runtime.refusal = None
    await small.wakes(thread="third")


async def test_what_waits_for_a_place_and_is_ended_waits_no_longer(small: Stage) -> None:
    for thread in ("first", "second"):
        await small.wakes(thread=thread)
    third = await waits(small, "third")
    await small.desk.intake.stop(third)
    small.keeper.ask(third)
    await small.quiet()
    assert small.states(third) == ["asleep"]


async def test_those_who_waited_are_all_let_in_when_an_empty_house_goes_on(small: Stage) -> None:
    for thread in ("first", "second"):
        await small.wakes(thread=thread)
    found = await small.desk.intake(small.desk.message(thread="early"))
    (early,) = found.sessions
    small.clock.advance(1)
    late = await waits(small, "late")
    small.inbox.ask(early)
    await small.until(lambda: small.states(early) == ["waiting"])
    await small.keeper.stop()
    await small.keeper.begin(stopped=False)
    await small.lives(late)
    await small.lives(early)


async def waits(stage: Stage, thread: str) -> SessionId:
    """Somebody writes to a session for which there is no place."""
    session = await stage.say(thread=thread)
    await stage.until(lambda: stage.states(session) == ["waiting"])
    return session


# An agent that was changed


async def test_an_idle_runner_of_a_changed_agent_ends_before_the_next_message(stage: Stage) -> None:
    live = await stage.wakes()
    session, sandbox = live.session.id, stage.runtime.sandboxes[0]
    (await stage.outbound(live)).write(*Scribe().answer("hi", 1))
    stage.outbox.ask(session)
    await stage.until(lambda: stage.owed != [])
    await stage.house.agents.put(SALVER, CHANGED_AGENT)
    sandbox.immortal = True
    await stage.say("and?")
    await sandbox.killed()
    assert await stage.desk.states(session) == ["answered", "received"]
    sandbox.end(code=-9)
    await stage.runtime.started(2)
    assert (await stage.lives(session)).version == launch.version_of(CHANGED_AGENT, DEMO)
    assert await stage.attempts(session) == [1, 0]


async def test_a_turn_goes_on_as_it_began_though_its_agent_was_changed(stage: Stage) -> None:
    live = await stage.wakes()
    await stage.house.agents.put(SALVER, CHANGED_AGENT)
    session = await stage.say("and?")
    await stage.quiet()
    assert await stage.desk.states(session) == ["queued", "queued"]
    # It leaves as soon as it has nothing to do.
    assert (stage.runtime.sandboxes[0].kills, live.retiring) == (0, True)
    assert live.version == launch.version_of(FIRST_AGENT, DEMO)


async def test_an_idle_runner_of_a_changed_account_ends_before_the_next_message(
    stage: Stage,
) -> None:
    live = await stage.wakes()
    session = live.session.id
    (await stage.outbound(live)).write(*Scribe().answer("hi", 1))
    stage.outbox.ask(session)
    await stage.until(lambda: stage.owed != [])
    stage.gate.choice = Choice(runner="pydantic-ai", pack=None)
    await stage.say("and?")
    await stage.runtime.started(2)
    assert (await stage.lives(session)).version == launch.version_of(FIRST_AGENT, stage.gate.choice)


async def test_what_was_said_while_an_account_is_lacking_waits_and_goes_on_when_it_is_there(
    stage: Stage,
) -> None:
    stage.gate.lack = "OpenAI has no key."
    session = await stage.say()
    assert await stage.in_trouble(session) == "OpenAI has no key."
    stage.gate.lack = ""
    await stage.keeper.go_on()
    await stage.lives(session)
    await stage.quiet()
    assert await stage.trouble(session) == ""


async def test_a_runner_whose_account_was_taken_away_leaves_when_its_work_is_done(
    stage: Stage,
) -> None:
    live = await stage.wakes()
    stage.gate.lack = "OpenAI is not set up yet."
    await stage.say("and?")
    await stage.quiet()
    assert (stage.runtime.sandboxes[0].kills, live.retiring) == (0, True)


async def test_an_agent_that_was_spoilt_disturbs_nobody_at_work(stage: Stage) -> None:
    live = await stage.wakes()
    (stage.house.places.agents / SALVER / "AGENT.md").write_text("---\n: what?\n", encoding="utf-8")
    await stage.say("and?")
    await stage.quiet()
    assert (stage.runtime.sandboxes[0].kills, live.retiring) == (0, False)


async def test_an_agent_that_was_never_usable_is_told_of(desk: Desk, quick_path: Path) -> None:
    # As an older Salver left it, which could still use it.
    now, text = desk.clock.stamp(), "---\ngrants: [everything]\n---\n"
    await desk.agent("odd")
    await desk.database.write(lambda conn: agents.keep(conn, AgentName("odd"), text, now))
    async with set_stage(desk, quick_path) as stage:
        session = await stage.say(agent=AgentName("odd"))
        assert "no agent 'odd'" in await stage.in_trouble(session)


# Stopping


async def test_who_does_not_die_is_not_waited_for_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "DEATHS", 0.01)
    await stage.wakes(thread="first")
    stage.runtime.immortal = True
    live = await stage.wakes(thread="second")
    assert await stage.keeper.stop() == 1
    assert "could not be ended" in await stage.in_trouble(live.session.id)


async def test_a_stop_ends_everything_and_nothing_starts_until_it_goes_on(stage: Stage) -> None:
    lives = [await stage.wakes(thread=thread) for thread in ("first", "second")]
    sessions = [live.session.id for live in lives]
    await stage.keeper.stop()
    assert (stage.runtime.living, stage.keeper.stopped) == ([], True)
    assert await stage.on_record() == []
    await stage.say("and?", thread="first")
    for session in sessions:
        stage.keeper.ask(session)
    await stage.quiet()
    assert (len(stage.runtime.launches), stage.states(*sessions)) == (2, ["asleep"] * 2)
    await stage.keeper.begin(stopped=False)
    for session in sessions:
        await stage.lives(session)


async def test_what_ran_when_everything_was_stopped_waits_again_without_blame(stage: Stage) -> None:
    live = await stage.wakes()
    session = live.session.id
    (await stage.outbound(live)).write(Scribe().claim(1))
    await stage.keeper.stop()
    assert await stage.desk.states(session) == ["queued"]
    assert await stage.attempts(session) == [0]
    await stage.keeper.begin(stopped=False)
    await stage.runtime.started(2)  # at once: it was no crash


@pytest.mark.parametrize("how", ["stop", "close"])
async def test_a_start_under_way_is_ended_too(stage: Stage, how: str) -> None:
    with stage.runtime.dawdling():
        session = await stage.say()
        await stage.runtime.asked()
        stop = stage.keeper.stop if how == "stop" else stage.keeper.close
        stopping = stage.tasks.create_task(stop(), name="stop")
        await asyncio.sleep(0)
        assert not stopping.done()
    await stopping
    assert (stage.runtime.living, len(stage.runtime.sandboxes)) == ([], 1)
    assert (await stage.on_record(), await stage.attempts(session)) == ([], [0])


async def test_preparations_that_a_stop_overtakes_lead_to_nothing(stage: Stage) -> None:
    stage.gate.prepared.clear()
    session = await stage.say()
    await stage.until(lambda: stage.keeper.preparing(session) != "")
    await stage.keeper.stop()
    stage.gate.prepared.set()
    await stage.quiet()
    assert (stage.runtime.launches, await stage.on_record()) == ([], [])
    assert stage.states(session) == ["asleep"]


async def test_a_house_that_was_stopped_begins_without_a_sandbox(stage: Stage) -> None:
    await stage.keeper.begin(stopped=True)
    session = await stage.say()
    await stage.quiet()
    assert (stage.runtime.launches, stage.states(session)) == ([], ["asleep"])


async def test_closing_leaves_no_sandbox_and_what_was_owed_is_owed_still(stage: Stage) -> None:
    live = await stage.wakes()
    session = live.session.id
    await stage.keeper.close()
    assert (stage.runtime.living, await stage.on_record()) == ([], [])
    assert await stage.desk.states(session) == ["queued"]
    assert live.blameless


# A start that fails half-way


@dataclass(frozen=True, kw_only=True)
class Failure:
    id: str
    arrange: Callable[[Stage, SessionId], None]
    mend: Callable[[Stage, SessionId], None]


def no_launch_record(stage: Stage, session: SessionId) -> None:
    (stage.place(session).inbox / "launch.new").mkdir(parents=True)


def a_launch_record(stage: Stage, session: SessionId) -> None:
    (stage.place(session).inbox / "launch.new").rmdir()


def refuse(exc: Exception | None) -> Callable[[Stage, SessionId], None]:
    def arrange(stage: Stage, _: SessionId) -> None:
        stage.runtime.refusal = exc

    return arrange


def no_gate(stage: Stage, _: SessionId) -> None:
    stage.gate.refusal = NeedsUser("Paste a key.")


def a_gate(stage: Stage, _: SessionId) -> None:
    stage.gate.refusal = None


FAILURES = [
    Failure(id="no-launch-record", arrange=no_launch_record, mend=a_launch_record),
    Failure(id="no-gate", arrange=no_gate, mend=a_gate),
    Failure(id="needs-a-person", arrange=refuse(NeedsUser("Help!")), mend=refuse(None)),
    Failure(id="short-of-something", arrange=refuse(Transient("Full.")), mend=refuse(None)),
    Failure(id="broken", arrange=refuse(Broken("It lied.")), mend=refuse(None)),
    Failure(id="a-bug", arrange=refuse(ZeroDivisionError()), mend=refuse(None)),
]


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.id)
async def test_a_start_that_fails_half_way_leaves_nothing(stage: Stage, case: Failure) -> None:
    found = await stage.desk.intake(stage.desk.message())
    (session,) = found.sessions
    case.arrange(stage, session)
    stage.inbox.ask(session)
    await stage.until(lambda: stage.states(session) == ["starting"])
    await stage.until(lambda: stage.states(session) == ["asleep"])
    await stage.keeper.stop()  # whoever tries again meanwhile has ended too
    assert await stage.on_record() == []
    assert (stage.gate.open_for, stage.place(session).line.exists()) == (set(), False)
    case.mend(stage, session)
    await stage.keeper.begin(stopped=False)
    await stage.lives(session)
    assert await stage.attempts(session) == [0]


async def test_a_start_that_is_cancelled_leaves_nothing(desk: Desk, quick_path: Path) -> None:
    runtime = StageRuntime(INSTALL)
    with runtime.dawdling():
        async with set_stage(desk, quick_path, runtime=runtime) as stage:
            session = await stage.say()
            await runtime.asked()
            assert stage.gate.open_for == {session}
    assert (stage.runtime.sandboxes, await stage.on_record()) == ([], [])
    assert (stage.gate.open_for, stage.place(session).line.exists()) == (set(), False)


async def test_a_sandbox_whose_mark_cannot_be_kept_is_not_kept_either(stage: Stage) -> None:
    await stage.forbid("UPDATE OF handle ON sandboxes")
    session = await stage.say()
    sandbox = await stage.runtime.started()
    await sandbox.killed()
    await stage.keeper.stop()
    assert (stage.runtime.living, await stage.on_record()) == ([], [])
    assert (stage.gate.open_for, stage.place(session).line.exists()) == (set(), False)


async def test_a_start_that_could_not_even_be_forgotten_holds_up_no_other(stage: Stage) -> None:
    await stage.forbid("DELETE ON sandboxes")
    stage.runtime.refusal = Transient("Full.", retry_after=1000)
    session = await stage.say()
    await stage.clock.asleep()
    assert stage.states(session) == ["uncertain"]
    await stage.allow()
    stage.runtime.refusal = None
    stage.clock.advance(RETRY_BURIAL)
    await stage.lives(session)


async def test_a_sandbox_without_a_mark_that_does_not_die_has_no_successor(stage: Stage) -> None:
    await stage.forbid("UPDATE OF handle ON sandboxes")
    stage.runtime.immortal = True
    session = await stage.say()
    assert await stage.in_trouble(session) == "Its sandbox could not be ended: It does not die."
    await stage.quiet()
    stage.keeper.ask(session)
    await stage.quiet()
    assert (len(stage.runtime.launches), stage.states(session)) == (1, ["uncertain"])
    # Whoever comes after a restart finds it on record.
    assert [row.generation for row in await stage.on_record()] == [1]
