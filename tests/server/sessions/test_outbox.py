"""From the file to salver.db: looking, draining, and telling one file from another."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from salver_server.errors import Broken, Transient
from salver_server.ids import SessionId
from salver_server.kit.background import background
from salver_server.sessions import store
from salver_server.sessions.folders import folders
from salver_server.sessions.outbox import HELD_UP, Outbox
from salver_server.sessions.reader import MOST_ROWS
from salver_server.sessions.reading import Page, Reading, Torn, open_reading
from salver_server.sessions.rest import SETTLED
from salver_server.sessions.take import News
from salver_server.settings import Places
from tests.fakes.channel import PATIENCE
from tests.server.sessions.conftest import Talk
from tests.server.sessions.outbound import Outbound


@dataclass(slots=True, kw_only=True)
class Looking:
    """An outbox, and what it has told the keeper."""

    talk: Talk
    outbox: Outbox
    file: Outbound
    news: list[News] = field(default_factory=list[News])
    distrusted: list[tuple[SessionId, str]] = field(default_factory=list[tuple[SessionId, str]])
    _happened: asyncio.Event = field(default_factory=asyncio.Event)

    def brought(self, news: News) -> None:
        self.news.append(news)
        self._happened.set()

    def distrust(self, session: SessionId, why: str) -> None:
        self.distrusted.append((session, why))
        self._happened.set()

    async def happened(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._happened.wait()
        self._happened.clear()

    async def make(self, *, generation: int = 1) -> None:
        """The runner makes its file."""
        epoch = (await self.talk.row()).epoch
        self.file.folder.mkdir(parents=True, exist_ok=True)
        self.file.make(epoch=epoch, generation=generation)

    async def refused(self) -> str:
        """Why the file is not trusted."""
        with pytest.raises(Broken) as broken:
            await self.outbox.drain(self.talk.session)
        return str(broken.value)


class Hanging(Reading):
    """Every read hangs until it is let go, and then has taken too long."""

    def __init__(self) -> None:
        super().__init__()
        self._begun: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def read(self, folder: Path, *, epoch: int, after: int) -> Page:  # noqa: ARG002 - the real one's
        let_go = asyncio.Event()
        self._begun.put_nowait(let_go)
        await let_go.wait()
        raise Transient("outbound.db could not be read in time", retry_after=0)

    async def next(self) -> asyncio.Event:
        """The next read, once it hangs."""
        async with asyncio.timeout(PATIENCE):
            return await self._begun.get()


@pytest.fixture
async def looking(talk: Talk, quick_path: Path) -> AsyncIterator[Looking]:
    """The outbox of a session whose first runner is on record; it has made no file yet."""
    async with open_reading() as reading, opened(talk, quick_path, reading) as looking:
        yield looking


@asynccontextmanager
async def opened(talk: Talk, quick_path: Path, reading: Reading) -> AsyncGenerator[Looking]:
    places = Places(quick_path / "home", quick_path / "sockets")
    await talk.desk.wake(talk.session)
    place = folders(places, talk.session, (await talk.row()).agent)

    def brought(news: News) -> None:
        looking.brought(news)

    def distrusted(session: SessionId, why: str) -> None:
        looking.distrust(session, why)

    async with talk.desk.outgoing(places) as outgoing, background() as tasks:
        outbox = Outbox(
            database=talk.desk.database,
            reading=reading,
            outgoing=outgoing,
            places=places,
            clock=talk.desk.clock,
            tasks=tasks,
            brought=brought,
            distrusted=distrusted,
        )
        looking = Looking(talk=talk, outbox=outbox, file=Outbound(place.outbox))
        yield looking


async def test_what_a_runner_wrote_is_taken_over_and_told(looking: Looking) -> None:
    talk = looking.talk
    await looking.make()
    looking.file.write(*talk.scribe.answer("hi", 1))
    looking.outbox.ask(talk.session)
    await looking.happened()
    (news,) = looking.news
    assert (news.session, news.rows, news.closed) == (talk.session, 3, True)
    assert (await talk.states(), (await talk.row()).read_seq) == (["answered"], 3)


async def test_a_look_at_nothing_new_tells_nobody(looking: Looking) -> None:
    assert not await looking.outbox.drain(looking.talk.session)
    await looking.make()
    assert not await looking.outbox.drain(looking.talk.session)
    assert looking.news == []


async def test_a_session_that_is_not_there_holds_nothing(looking: Looking) -> None:
    assert not await looking.outbox.drain(SessionId("ses-nothing"))


async def test_draining_reads_a_long_file_to_its_end(looking: Looking) -> None:
    talk = looking.talk
    await looking.make()
    rows = [talk.scribe.row("tool", name="shell", arguments={}) for _ in range(MOST_ROWS)]
    looking.file.write(*rows, *talk.scribe.answer("hi", 1))
    assert await looking.outbox.drain(talk.session)
    assert ((await talk.row()).read_seq, len(looking.news)) == (MOST_ROWS + 3, 2)
    assert await talk.states() == ["answered"]


async def test_a_locked_file_is_looked_at_again(looking: Looking) -> None:
    talk = looking.talk
    await looking.make()
    looking.file.write(*talk.scribe.answer("hi", 1))
    with looking.file.open() as conn:
        conn.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Transient):
            await looking.outbox.drain(talk.session)
        looking.outbox.ask(talk.session)
    await looking.happened()
    assert (len(looking.news), looking.distrusted) == (1, [])


async def test_a_dead_writer_s_journal_is_for_whoever_buries_it(looking: Looking) -> None:
    await looking.make()
    looking.file.die_writing()
    with pytest.raises(Torn):
        await looking.outbox.drain(looking.talk.session)


async def test_a_file_that_can_not_be_read_for_long_is_distrusted(
    talk: Talk, quick_path: Path
) -> None:
    async with opened(talk, quick_path, reading := Hanging()) as looking:
        talk.desk.clock.advance(1)
        looking.outbox.ask(talk.session)
        (await reading.next()).set()
        again = await reading.next()
        talk.desk.clock.advance(HELD_UP)
        again.set()
        await looking.happened()
        why = "outbound.db could not be read in time, for 10 s"
        assert looking.distrusted == [(talk.session, why)]


async def test_a_look_that_outlasts_its_runner_is_not_held_against_the_next_one(
    talk: Talk, quick_path: Path
) -> None:
    async with opened(talk, quick_path, reading := Hanging()) as looking:
        talk.desk.clock.advance(1)
        looking.outbox.ask(talk.session)
        (await reading.next()).set()
        again = await reading.next()
        talk.desk.clock.advance(HELD_UP)
        looking.outbox.forget(talk.session)
        again.set()
        await reading.next()
        assert looking.distrusted == []


async def test_a_row_that_is_not_right_makes_its_file_distrusted(looking: Looking) -> None:
    talk = looking.talk
    await looking.make()
    looking.file.write(talk.scribe.claim(9))
    looking.outbox.ask(talk.session)
    await looking.happened()
    assert looking.distrusted == [(talk.session, "message 9 was never handed over")]
    assert (looking.news, (await talk.row()).read_seq) == ([], 0)


async def test_a_file_that_vanished_is_missed(looking: Looking) -> None:
    await looking.make()
    looking.file.write(looking.talk.scribe.claim(1))
    await looking.outbox.drain(looking.talk.session)
    looking.file.path.unlink()
    assert await looking.refused() == "outbound.db is gone"


async def test_a_file_that_was_replaced_is_noticed_although_it_says_the_same(
    looking: Looking,
) -> None:
    await looking.make()
    looking.file.write(looking.talk.scribe.claim(1))
    await looking.outbox.drain(looking.talk.session)
    copy = looking.file.folder / "copy"
    copy.write_bytes(looking.file.path.read_bytes())
    copy.replace(looking.file.path)
    assert await looking.refused() == "outbound.db was replaced by another file"


async def test_once_its_runner_is_dead_a_file_may_have_been_moved_by_us(looking: Looking) -> None:
    await looking.make()
    await looking.outbox.drain(looking.talk.session)
    copy = looking.file.folder / "copy"
    copy.write_bytes(looking.file.path.read_bytes())
    copy.replace(looking.file.path)
    looking.outbox.forget(looking.talk.session)
    assert not await looking.outbox.drain(looking.talk.session)


async def test_a_new_epoch_is_another_file(looking: Looking) -> None:
    talk = looking.talk
    await looking.make()
    await looking.outbox.drain(talk.session)
    epoch = (await talk.row()).epoch + 1
    await talk.desk.database.write(lambda conn: store.new_file(conn, talk.session, epoch))
    assert await looking.refused() == "it is another file than the one this session was given"
    looking.file.path.unlink()
    await looking.make()
    assert not await looking.outbox.drain(talk.session)


async def test_an_owner_of_the_future_is_nobody_of_ours(looking: Looking) -> None:
    await looking.make(generation=2)
    assert await looking.refused() == "outbound.db names an owner of the future, generation 2"


async def test_a_file_of_an_earlier_owner_is_read_on(looking: Looking) -> None:
    await looking.make(generation=1)
    looking.file.write(*looking.talk.scribe.answer("hi", 1))
    await looking.talk.desk.database.write(
        lambda conn: store.forget_sandbox(conn, looking.talk.session)
    )
    await looking.talk.desk.wake(looking.talk.session)
    assert await looking.outbox.drain(looking.talk.session)


async def test_a_message_is_answered_once_although_many_ring(looking: Looking) -> None:
    talk = looking.talk
    await looking.make()
    looking.file.write(*talk.scribe.answer("hi", 1))
    for _ in range(100):
        looking.outbox.ask(talk.session)
    await looking.happened()
    await looking.outbox.drain(talk.session)
    assert await talk.told() == [("reply", "hi", [1])]


class Counted(Reading):
    """Knows how many reads have come to their end."""

    def __init__(self) -> None:
        super().__init__()
        self._reads: asyncio.Queue[Path] = asyncio.Queue()

    async def read(self, folder: Path, *, epoch: int, after: int) -> Page:
        page = await super().read(folder, epoch=epoch, after=after)
        self._reads.put_nowait(folder)
        return page

    async def next(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._reads.get()

    @property
    def more(self) -> bool:
        return not self._reads.empty()


async def rests(looking: Looking, reading: Counted) -> None:
    """The file was read, and read again well after nothing was written any more."""
    await looking.make()
    for _ in range(2):
        looking.outbox.sweep([looking.talk.session])
        await reading.next()
        looking.talk.desk.clock.advance(SETTLED)


async def test_a_sweep_looks_only_at_what_does_not_rest(talk: Talk, quick_path: Path) -> None:
    async with opened(talk, quick_path, reading := Counted()) as looking:
        await rests(looking, reading)
        looking.outbox.sweep([talk.session])
        await asyncio.sleep(0.05)
        assert not reading.more
        looking.file.write(*talk.scribe.answer("hi", 1))
        looking.outbox.sweep([talk.session])
        await looking.happened()
        assert await talk.states() == ["answered"]
    await reading.close()


async def test_an_end_is_read_even_of_a_file_that_rests(talk: Talk, quick_path: Path) -> None:
    async with opened(talk, quick_path, reading := Counted()) as looking:
        await rests(looking, reading)
        assert not await looking.outbox.drain(talk.session)
        assert reading.more
    await reading.close()
