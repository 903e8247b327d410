"""After a start: what outlived the last server is adopted, buried or ended, and never has a second owner."""

import asyncio
import sqlite3
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from salver_server.errors import Broken, NeedsUser
from salver_server.ids import AgentName, InstallId, SessionId
from salver_server.runtimes import Launch
from salver_server.sessions import launch, store
from salver_server.sessions.adoption import ASK_AGAIN, Adoption
from salver_server.sessions.folders import make
from salver_server.sessions.reading import Row
from tests.fakes.stage import NAME, StageRuntime, StageSandbox
from tests.server.conftest import SALVER, Desk
from tests.server.sessions.conftest import Scribe
from tests.server.sessions.outbound import Outbound
from tests.server.sessions.stage import (
    CHANGED_AGENT,
    DEMO,
    FIRST_AGENT,
    INSTALL,
    ME,
    Stage,
    set_stage,
)

ODD = AgentName("odd")


@dataclass(slots=True, kw_only=True)
class Install:
    """One data folder, over which servers come and go while sandboxes stay."""

    desk: Desk
    folder: Path
    runtime: StageRuntime

    def server(self, **settings: Any) -> AbstractAsyncContextManager[Stage]:
        return set_stage(self.desk, self.folder, runtime=self.runtime, **settings)

    async def leave_behind(
        self, *, threads: tuple[str | None, ...] = (None,), agent: AgentName = SALVER
    ) -> StageSandbox:
        """A server starts sandboxes, reads that they are at work, and dies; returns the last of them."""
        async with self.server() as stage:
            for thread in threads:
                live = await stage.wakes(thread=thread, agent=agent)
                (await stage.outbound(live)).write(Scribe().claim(1))
                stage.outbox.ask(live.session.id)
                await stage.quiet()
        return self.runtime.sandboxes[-1]

    async def record(self, *, runtime: str = NAME, handle: str | None = None) -> SessionId:
        """A message that waits, and a sandbox on record for it; returns the session."""
        found = await self.desk.intake(self.desk.message())
        (session,) = found.sessions
        await self.desk.queue(session)
        now = self.desk.clock.stamp()

        def write(conn: store.Connection) -> None:
            generation = store.raise_generation(
                conn, session, runtime=runtime, token_hash=b"hash", now=now
            )
            if handle is not None:
                store.keep_handle(conn, session, generation, handle)

        await self.desk.database.write(write)
        return session


@pytest.fixture
def install(desk: Desk, quick_path: Path) -> Install:
    return Install(desk=desk, folder=quick_path, runtime=StageRuntime(INSTALL))


async def begin(stage: Stage) -> Adoption:
    """What `app` does after a start, before anything else may happen."""
    adoption = Adoption(stage.house, stage.keeper)
    await adoption.begin()
    await stage.keeper.begin(stopped=False)
    return adoption


async def ask_again(stage: Stage, adoption: Adoption) -> None:
    """Time goes by until what was uncertain has been asked about once more."""
    task = stage.tasks.create_task(adoption.go_on(), name="adoption.go-on")
    await stage.clock.asleep()
    stage.clock.advance(ASK_AGAIN)
    await stage.clock.asleep()
    task.cancel()
    await asyncio.wait([task])
    await stage.quiet()


async def start(
    stage: Stage, runtime: StageRuntime, session: SessionId, *, install: InstallId = INSTALL
) -> StageSandbox:
    """A sandbox of the session's first generation that nobody looks after."""
    place = stage.place(session)
    make(place, ME)
    return await runtime.start(
        Launch(
            install=install,
            session=session,
            generation=1,
            inbox=place.inbox,
            outbox=place.outbox,
            work=place.work,
            home=place.home,
            line=place.line,
            log=place.log,
        )
    )


# Those on record


async def test_one_that_lives_is_adopted_and_not_started_again(install: Install) -> None:
    sandbox = await install.leave_behind()
    session = sandbox.mark.session
    async with install.server() as stage:
        await begin(stage)
        await stage.quiet()
        live = await stage.lives(session)
        assert (live.sandbox.mark, live.generation) == (sandbox.mark, 1)
        assert (sandbox.kills, len(install.runtime.launches)) == (0, 1)
        assert [row.handle for row in await stage.on_record()] == [sandbox.mark.handle]
        assert await stage.desk.states(session) == ["running"]
        assert stage.gate.open_for == {session}
        async with stage.on_the_line(live) as runner:
            await stage.say("and?")
            assert await runner.told() == "ring"


async def test_what_an_adopted_one_wrote_while_nobody_read_is_read(install: Install) -> None:
    sandbox = await install.leave_behind()
    async with install.server() as stage:
        written(stage, sandbox, *Scribe().answer("hi", 1)[1:])
        await begin(stage)
        await stage.until(lambda: stage.owed != [])
        assert await stage.desk.states(sandbox.mark.session) == ["answered"]


async def test_an_adopted_one_is_known_by_the_agent_that_it_was_started_with(
    install: Install,
) -> None:
    sandbox = await install.leave_behind()
    async with install.server() as stage:
        await stage.house.agents.put(SALVER, CHANGED_AGENT)
        await begin(stage)
        await stage.quiet()
        live = await stage.lives(sandbox.mark.session)
        assert live.version == launch.version_of(FIRST_AGENT, DEMO)
        assert live.retiring


async def test_the_adopted_stay_although_there_are_too_many(install: Install) -> None:
    await install.leave_behind(threads=("first", "second"))
    async with install.server(most_sandboxes=1) as stage:
        await begin(stage)
        await stage.quiet()
        assert [sandbox.kills for sandbox in install.runtime.living] == [0, 0]
        assert len(stage.keeper.all_live()) == 2


async def test_a_dead_one_is_buried_and_its_message_waits_again(install: Install) -> None:
    sandbox = await install.leave_behind()
    session = sandbox.mark.session
    sandbox.end(code=1)
    async with install.server() as stage:
        await begin(stage)
        await stage.lives(session)
        assert await stage.desk.states(session) == ["queued"]
        assert await stage.attempts(session) == [1]
        assert [row.generation for row in await stage.on_record()] == [2]


async def test_what_a_dead_one_wrote_to_its_last_moment_counts(install: Install) -> None:
    sandbox = await install.leave_behind()
    session = sandbox.mark.session
    sandbox.end()
    async with install.server() as stage:
        written(stage, sandbox, *Scribe().answer("hi", 1)[1:])
        await begin(stage)
        await stage.quiet()
        assert await stage.desk.states(session) == ["answered"]
        assert (len(stage.owed), stage.states(session)) == (1, ["asleep"])


async def test_one_that_never_came_to_be_is_nobodys_fault(install: Install) -> None:
    session = await install.record()
    async with install.server() as stage:
        await begin(stage)
        assert (await stage.lives(session)).generation == 2
        assert await stage.attempts(session) == [0]


async def test_one_whose_mark_was_not_kept_is_ended_and_nobody_is_to_blame(
    install: Install,
) -> None:
    session = await install.record()
    async with install.server() as stage:
        sandbox = await start(stage, install.runtime, session)
        await begin(stage)
        assert (await stage.lives(session)).generation == 2
        assert (sandbox.alive, sandbox.kills) == (False, 1)
        assert await stage.attempts(session) == [0]


# Strays


async def test_a_stray_is_ended(install: Install) -> None:
    async with install.server() as stage:
        stray = await start(stage, install.runtime, SessionId("ses-nobody"))
        await begin(stage)
        assert not stray.alive


async def test_a_stray_that_names_an_adopted_ones_session_is_ended_alone(install: Install) -> None:
    sandbox = await install.leave_behind()
    async with install.server() as stage:
        stray = await start(stage, install.runtime, sandbox.mark.session)
        await begin(stage)
        assert (stray.alive, sandbox.alive) == (False, True)


async def test_a_stray_that_does_not_die_keeps_nobody_from_work(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    async with install.server() as stage:
        stray = await start(stage, install.runtime, SessionId("ses-nobody"))
        stray.immortal = True
        await begin(stage)
        await stage.wakes()
        assert "stray sandbox does not die" in caplog.messages


async def test_anothers_sandbox_is_left_alone(install: Install) -> None:
    neighbour = StageRuntime(InstallId("ins-2"))
    async with install.server() as stage:
        theirs = await start(stage, neighbour, SessionId("ses-theirs"), install=InstallId("ins-2"))
        # As after a data folder was copied.
        session = await install.record(handle=theirs.mark.handle)
        await begin(stage)
        assert (theirs.alive, theirs.kills) == (True, 0)
        assert stage.states(session) == ["uncertain"]


# Where nothing is certain


async def test_while_nothing_is_certain_the_session_waits_visibly(install: Install) -> None:
    sandbox = await install.leave_behind()
    session = sandbox.mark.session
    install.runtime.doubt = Broken("The machine does not say.")
    async with install.server() as stage:
        adoption = await begin(stage)
        await ask_again(stage, adoption)
        await stage.say("and?")
        stage.keeper.ask(session)
        await stage.quiet()
        assert await stage.trouble(session) == (
            "Whether its last sandbox still lives is not certain: The machine does not say."
        )
        assert stage.states(session) == ["uncertain"]
        assert (len(install.runtime.launches), sandbox.kills) == (1, 0)


async def test_one_that_turns_out_to_live_is_adopted(install: Install) -> None:
    sandbox = await install.leave_behind()
    install.runtime.doubt = Broken("The machine does not say.")
    async with install.server() as stage:
        adoption = await begin(stage)
        install.runtime.doubt = None
        await ask_again(stage, adoption)
        live = await stage.lives(sandbox.mark.session)
        assert (live.sandbox.mark, sandbox.kills) == (sandbox.mark, 0)
        assert stage.states(sandbox.mark.session) == ["live"]


async def test_a_doubt_that_is_over_is_not_told_of_any_longer(install: Install) -> None:
    sandbox = await install.leave_behind()
    install.runtime.doubt = Broken("The machine does not say.")
    async with install.server() as stage:
        adoption = await begin(stage)
        install.runtime.doubt = None
        await ask_again(stage, adoption)
        assert await stage.trouble(sandbox.mark.session) == ""


async def test_one_that_turns_out_to_be_dead_is_buried(install: Install) -> None:
    sandbox = await install.leave_behind()
    install.runtime.doubt = Broken("The machine does not say.")
    async with install.server() as stage:
        adoption = await begin(stage)
        install.runtime.doubt = None
        sandbox.end()
        await ask_again(stage, adoption)
        assert (await stage.lives(sandbox.mark.session)).generation == 2


async def test_one_of_a_runtime_that_is_not_here_any_more_waits_visibly(install: Install) -> None:
    session = await install.record(runtime="docker", handle="?")
    async with install.server() as stage:
        adoption = await begin(stage)
        await ask_again(stage, adoption)
        assert "the runtime 'docker', which this Salver does not have" in await stage.trouble(
            session
        )
        assert (stage.states(session), install.runtime.launches) == (["uncertain"], [])


async def test_one_without_a_mark_that_does_not_die_is_asked_to_again(install: Install) -> None:
    session = await install.record()
    async with install.server() as stage:
        sandbox = await start(stage, install.runtime, session)
        sandbox.immortal = True
        adoption = await begin(stage)
        assert (stage.states(session), len(install.runtime.launches)) == (["uncertain"], 1)
        sandbox.immortal = False
        await ask_again(stage, adoption)
        assert (await stage.lives(session)).generation == 2


# Those that nobody can care for


async def test_a_sandbox_whose_agent_is_gone_is_ended_and_it_is_said(install: Install) -> None:
    sandbox = await orphan(install)
    session = sandbox.mark.session
    async with install.server() as stage:
        await begin(stage)
        assert "no agent 'odd'" in await stage.in_trouble(session)
        assert (sandbox.alive, await stage.on_record()) == (False, [])
        assert await stage.attempts(session) == [0]


async def test_an_orphan_that_does_not_die_is_asked_about_again(install: Install) -> None:
    sandbox = await orphan(install)
    session = sandbox.mark.session
    sandbox.immortal = True
    async with install.server() as stage:
        adoption = await begin(stage)
        assert stage.states(session) == ["uncertain"]
        assert "does not die" in await stage.trouble(session)
        await ask_again(stage, adoption)
        sandbox.immortal = False
        await ask_again(stage, adoption)
        assert (sandbox.alive, await stage.on_record()) == (False, [])


async def test_a_look_that_fails_loses_nobody_out_of_sight(install: Install) -> None:
    await install.leave_behind(threads=("first", "second"))
    install.runtime.doubt = Broken("The machine does not say.")
    async with install.server() as stage:
        adoption = await begin(stage)
        install.runtime.doubt = Broken("The machine says nothing.")
        await stage.forbid("UPDATE OF trouble ON sessions")
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(fails(adoption.go_on()), name="adoption.go-on")
            await stage.clock.asleep()
            stage.clock.advance(ASK_AGAIN)
        assert "no room" in looking.result()
        await stage.allow()
        install.runtime.doubt = None
        await ask_again(stage, adoption)
        assert len(stage.keeper.all_live()) == 2


async def fails(loop: Awaitable[None]) -> str:
    with pytest.raises(sqlite3.Error) as failure:
        await loop
    return str(failure.value)


async def test_a_sandbox_whose_provider_is_gone_leaves_no_socket(install: Install) -> None:
    sandbox = await install.leave_behind()
    async with install.server() as stage:
        stage.gate.refusal = NeedsUser("There is no provider 'old'.")
        await stage.keeper.begin(stopped=True)  # so that nobody tries to start the next one
        await Adoption(stage.house, stage.keeper).begin()
        await stage.quiet()
        assert (sandbox.alive, await stage.on_record()) == (False, [])
        assert not stage.place(sandbox.mark.session).line.exists()
        await stage.keeper.begin(stopped=False)
        assert await stage.in_trouble(sandbox.mark.session) == "There is no provider 'old'."


async def orphan(install: Install) -> StageSandbox:
    """A sandbox of an agent that was removed while it lived."""
    async with install.server() as stage:
        await stage.house.agents.put(ODD, FIRST_AGENT)
    sandbox = await install.leave_behind(agent=ODD)
    async with install.server() as stage:
        await stage.house.agents.remove(ODD)
    return sandbox


def written(stage: Stage, sandbox: StageSandbox, *rows: Row) -> None:
    """What a sandbox wrote while no server ran."""
    Outbound(stage.place(sandbox.mark.session).outbox).write(*rows)
