import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from salver_server.ids import SessionId
from salver_server.kit.background import background
from salver_server.sessions.watch import Watch
from tests.fakes.channel import PATIENCE


@dataclass(slots=True)
class Seen:
    """The sessions that a watch has said to look at."""

    sessions: list[SessionId] = field(default_factory=list[SessionId])
    _happened: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, session: SessionId) -> None:
        self.sessions.append(session)
        self._happened.set()

    async def sees(self, session: str) -> None:
        """Return once this session is to be looked at, from now on."""
        self.sessions.clear()
        await self.has_seen(session)

    async def has_seen(self, session: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while session not in self.sessions:
                self._happened.clear()
                await self._happened.wait()


@dataclass(slots=True)
class Watching:
    watch: Watch
    seen: Seen
    root: Path

    def add(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir()
        self.watch.add(folder, SessionId(name))
        return folder


@pytest.fixture
async def watching(quick_path: Path) -> AsyncIterator[Watching]:
    seen = Seen()
    watch = Watch(seen.note)
    async with background() as tasks:
        tasks.create_task(watch.run(), name="watch")
        yield Watching(watch, seen, quick_path)


async def test_a_session_is_looked_at_once_when_it_is_first_watched(watching: Watching) -> None:
    folder = watching.add("one")
    (folder / "outbound.db").touch()  # perhaps before the watcher stands
    await watching.seen.has_seen("one")


async def test_a_change_in_its_folder_makes_a_session_looked_at(watching: Watching) -> None:
    one, _ = watching.add("one"), watching.add("two")
    await watching.seen.has_seen("two")
    watching.seen.sessions.clear()
    (one / "outbound.db").touch()
    await watching.seen.has_seen("one")
    assert set(watching.seen.sessions) == {"one"}


async def test_a_change_further_down_is_nobody_s_business(watching: Watching) -> None:
    one = watching.add("one")
    (one / "files").mkdir()
    await watching.seen.has_seen("one")
    watching.seen.sessions.clear()
    (one / "files" / "picture").touch()
    two = watching.add("two")
    await watching.seen.has_seen("two")
    watching.seen.sessions.clear()
    (two / "outbound.db").touch()
    await watching.seen.has_seen("two")
    assert "one" not in watching.seen.sessions


async def test_a_session_that_comes_later_is_watched_too(watching: Watching) -> None:
    watching.add("one")
    await watching.seen.has_seen("one")
    two = watching.add("two")
    await watching.seen.has_seen("two")
    watching.seen.sessions.clear()
    (two / "outbound.db").touch()
    await watching.seen.has_seen("two")


async def test_a_session_that_was_dropped_is_looked_at_no_more(watching: Watching) -> None:
    one, two = watching.add("one"), watching.add("two")
    await watching.seen.has_seen("two")
    watching.watch.drop(one)
    watching.watch.drop(one)
    await watching.seen.sees("two")  # the watcher is made anew
    watching.seen.sessions.clear()
    (one / "outbound.db").touch()
    (two / "outbound.db").touch()
    await watching.seen.has_seen("two")
    assert "one" not in watching.seen.sessions


async def test_a_folder_that_is_gone_leaves_the_others_watched(watching: Watching) -> None:
    one, two = watching.add("one"), watching.add("two")
    one.rmdir()
    await watching.seen.has_seen("two")
    watching.seen.sessions.clear()
    (two / "outbound.db").touch()
    await watching.seen.has_seen("two")
    assert watching.seen.sessions == ["two"]
