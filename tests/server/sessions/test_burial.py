"""How a dead sandbox is buried: its file is read to the last row first, healed or put aside if it must be."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from salver_server.accounts import Choice
from salver_server.agents import AgentBook, Definition, SkillBook
from salver_server.errors import NeedsUser
from salver_server.ids import AgentName, ChatId, InstallId, SessionId
from salver_server.kit.background import background
from salver_server.runtimes import Exit, Identity, Mark, Site
from salver_server.sessions.adoption import Adoption
from salver_server.sessions.burial import RETRY_HEALING, Burial, End
from salver_server.sessions.folders import Folders, folders, make
from salver_server.sessions.house import House
from salver_server.sessions.keeper import Keeper
from salver_server.sessions.live import Live
from salver_server.sessions.outbox import Outbox
from salver_server.sessions.reading import open_reading
from salver_server.settings import Places, Settings, container
from tests.fakes.runtime import FAKE, NAME, FakeRuntime
from tests.server.sessions.conftest import Talk
from tests.server.sessions.outbound import Outbound

ME = Identity(uid=os.geteuid(), gid=os.getegid())
CRASHED = Exit(cause="ended", code=1, detail="It ended with 1.")


@dataclass(slots=True, kw_only=True)
class Grave:
    """A session whose sandbox is dead, and everything that a burial needs."""

    talk: Talk
    house: House
    place: Folders
    file: Outbound
    runtime: FakeRuntime
    burial: Burial
    troubles: list[str] = field(default_factory=list[str])
    owed: list[ChatId] = field(default_factory=list[ChatId])

    async def bury(self, *, blameless: bool = False, distrusted: str = "") -> None:
        await self.burial(
            End(
                session=await self.talk.row(),
                runtime=NAME,
                exit=CRASHED,
                blameless=blameless,
                distrusted=distrusted,
            )
        )

    def asides(self) -> list[str]:
        return [folder.name for folder in self.place.outbox.parent.glob("out.aside-*")]


@pytest.fixture
async def grave(talk: Talk, quick_path: Path) -> AsyncIterator[Grave]:
    desk, places = talk.desk, Places(quick_path / "home", quick_path / "sockets")
    await desk.wake(talk.session)
    row = await talk.row()
    place = folders(places, talk.session, row.agent)
    make(place, ME)
    site = Site(install=InstallId("ins-1"), identity=ME, source=container())
    async with (
        FAKE.open(site) as runtime,
        open_reading() as reading,
        desk.outgoing(places) as outgoing,
        background() as tasks,
    ):
        assert isinstance(runtime, FakeRuntime)
        outbox = Outbox(
            database=desk.database,
            reading=reading,
            outgoing=outgoing,
            places=places,
            clock=desk.clock,
            tasks=tasks,
            brought=lambda _: None,
            distrusted=lambda _, __: None,
        )
        house = House(
            install=site.install,
            identity=ME,
            settings=Settings(home=places.home, runtime=NAME),
            places=places,
            database=desk.database,
            clock=desk.clock,
            runtimes={NAME: runtime},
            agents=AgentBook(
                folder=places.agents,
                skills=SkillBook(places.skills),
                database=desk.database,
                clock=desk.clock,
            ),
            gate=Shut(),
        )
        troubles: list[str] = []
        owed: list[ChatId] = []

        async def trouble(_: SessionId, text: str) -> None:
            troubles.append(text)

        yield Grave(
            talk=talk,
            house=house,
            place=place,
            file=Outbound(place.outbox).make(epoch=row.epoch),
            runtime=runtime,
            burial=Burial(house, outbox, trouble=trouble, owed=owed.append),
            troubles=troubles,
            owed=owed,
        )


class Shut:
    """Nothing goes out of a grave."""

    def choose(self, agent: AgentName, definition: Definition) -> Choice:
        raise AssertionError((agent, definition))

    async def open(
        self, session: SessionId, path: Path, *, agent: AgentName, token_hash: bytes, choice: Choice
    ) -> None:
        raise AssertionError((session, path, agent, token_hash, choice))

    async def close(self, session: SessionId) -> None:
        raise AssertionError(session)

    async def packs(self, choice: Choice, say: Callable[[str], None]) -> Mapping[str, Path]:
        raise AssertionError((choice, say))


async def test_what_was_written_to_the_last_moment_counts(grave: Grave) -> None:
    await grave.talk.say("and?")
    grave.file.write(*grave.talk.scribe.answer("hi", 1), grave.talk.scribe.claim(2))
    await grave.bury()
    assert await grave.talk.states() == ["answered", "queued"]
    assert await grave.talk.attempts() == [1, 1]
    assert await grave.talk.told() == [("reply", "hi", [1])]
    assert grave.asides() == []


async def test_a_sandbox_that_wrote_nothing_is_buried_too(grave: Grave) -> None:
    grave.file.path.unlink()
    await grave.bury()
    assert (await grave.talk.states(), await grave.talk.attempts()) == (["queued"], [1])
    assert grave.asides() == []


async def test_who_is_told_of_a_failure_is_told_soon(grave: Grave) -> None:
    await grave.talk.take(*(grave.talk.scribe.claim(1) for _ in range(3)))
    await grave.bury(distrusted="for the test's sake")
    assert grave.owed == await grave.talk.chats()
    assert len(grave.owed) == 1


async def test_a_dead_writer_s_journal_is_rolled_back_in_a_sandbox(grave: Grave) -> None:
    grave.file.write(*grave.talk.scribe.answer("hi", 1))
    grave.file.die_writing()
    await grave.bury()
    assert [launch.task for launch in grave.runtime.started] == ["heal"]
    assert await grave.talk.states() == ["answered"]
    assert (grave.asides(), grave.file.journal.exists()) == ([], False)


async def test_nobody_is_buried_before_the_strays_are_ended(
    grave: Grave, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What heals a dead one's journal is on no record, and would be taken for a stray."""
    happened: list[str] = []

    async def listed() -> list[Mark]:
        happened.append("strays")
        return []

    def bury_soon(end: End) -> None:
        happened.append(end.session.id)

    monkeypatch.setattr(grave.runtime, "list", listed)
    keeper = SimpleNamespace(all_live=list[Live], bury_soon=bury_soon)
    await Adoption(grave.house, cast(Keeper, keeper)).begin()
    assert happened[-2:] == ["strays", grave.talk.session]


async def test_where_no_sandbox_can_heal_the_burial_waits_and_says_why(grave: Grave) -> None:
    grave.file.write(*grave.talk.scribe.answer("hi", 1))
    grave.file.die_writing()
    grave.runtime.refusal = NeedsUser("Install bubblewrap.")
    async with asyncio.TaskGroup() as tasks:
        burying = tasks.create_task(grave.bury(), name="bury")
        await grave.talk.desk.clock.asleep()
        assert (grave.troubles, burying.done()) == (["Install bubblewrap."], False)
        assert await grave.talk.states() == ["queued"]
        grave.runtime.refusal = None
        grave.talk.desk.clock.advance(RETRY_HEALING)
    assert await grave.talk.states() == ["answered"]


async def test_a_file_that_is_not_ours_is_put_aside_and_the_next_one_is_another(
    grave: Grave,
) -> None:
    epoch = (await grave.talk.row()).epoch
    grave.file.write(grave.talk.scribe.claim(9))
    await grave.bury()
    row = await grave.talk.row()
    assert (row.epoch != epoch, row.read_seq) == (True, 0)
    assert len(grave.asides()) == 1
    assert not grave.place.outbox.exists()
    assert await grave.talk.states() == ["queued"]


async def test_a_file_that_was_distrusted_while_it_lived_is_not_read_again(grave: Grave) -> None:
    grave.file.write(*grave.talk.scribe.answer("hi", 1))
    await grave.bury(distrusted="message 9 was never handed over")
    assert (await grave.talk.states(), await grave.talk.told()) == (["queued"], [])
    assert len(grave.asides()) == 1


async def test_what_counted_from_a_file_outlives_it(grave: Grave) -> None:
    talk = grave.talk
    await talk.take(*talk.scribe.answer("hi", 1))
    await talk.take(talk.scribe.row("continuation", provider="demo", messages=["one"]))
    await grave.bury(distrusted="for the test's sake")
    assert (await talk.states(), len(await talk.told())) == (["answered"], 1)
    assert await talk.ask("SELECT body FROM continuations WHERE session = ?") == [('["one"]',)]
