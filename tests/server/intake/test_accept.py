import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from sqlite3 import IntegrityError

import pytest

from salver_server.agents import store as agents
from salver_server.errors import Conflict, Missing, NeedsUser, Rejected
from salver_server.files import store as files
from salver_server.ids import FileId, MessageId
from salver_server.intake import Accepted
from salver_server.intake.checks import LONGEST_NAME
from salver_server.messages import LONGEST_TEXT
from salver_server.sessions import store
from tests.server.conftest import SALVER, Desk


async def accepted(desk: Desk) -> list[tuple[str, str]]:
    """Key and text of everything that lies in the intake."""
    return await desk.database.read(
        lambda conn: conn.execute("SELECT key, text FROM intake ORDER BY rowid").fetchall()
    )


async def due(desk: Desk, *, ahead: float = 0) -> list[MessageId]:
    """What is to be handed over in so many seconds, in whichever session."""
    then = desk.clock.stamp(ahead)

    def find(conn: store.Connection) -> list[MessageId]:
        sessions = store.sessions_due(conn, then)
        return [row.message for session in sessions for row in store.due(conn, session, then)]

    return await desk.database.read(find)


async def test_an_accepted_message_is_owed_to_its_session(desk: Desk) -> None:
    found = await desk.intake(desk.message("hello"))
    (session,) = found.sessions
    assert desk.told == [session]
    assert await desk.states(session) == ["received"]
    row = await desk.session(session)
    assert (row.agent, row.state) == (SALVER, "open")


async def test_the_same_place_goes_on_in_the_same_session(desk: Desk) -> None:
    one = await desk.intake(desk.message("one"))
    two = await desk.intake(desk.message("two"))
    elsewhere = await desk.intake(desk.message("three", thread="dinner"))
    assert one.sessions == two.sessions
    assert elsewhere.sessions != one.sessions
    assert len(await desk.states(one.sessions[0])) == 2


async def test_a_closed_session_is_followed_by_a_new_one(desk: Desk) -> None:
    one = await desk.intake(desk.message("one"))
    now = desk.clock.stamp()
    await desk.database.write(lambda conn: store.close_session(conn, one.sessions[0], now))
    two = await desk.intake(desk.message("two"))
    assert one.sessions != two.sessions


async def test_what_comes_twice_under_one_key_is_accepted_once(desk: Desk) -> None:
    one = await desk.intake(desk.message("hello", key="7"))
    two = await desk.intake(desk.message("hello", key="7"))
    assert (one.again, two.again) == (False, True)
    assert (two.message, two.sessions) == (one.message, one.sessions)
    assert await desk.states(one.sessions[0]) == ["received"]


async def test_what_comes_twice_at_the_same_time_is_accepted_once(desk: Desk) -> None:
    found = await asyncio.gather(*(desk.intake(desk.message("hello", key="7")) for _ in range(20)))
    assert len({each.message for each in found}) == 1
    assert [each.again for each in found].count(False) == 1
    assert await accepted(desk) == [("7", "hello")]


async def test_the_same_key_on_another_channel_is_another_message(desk: Desk) -> None:
    await desk.chat("family", SALVER)
    await desk.intake(desk.message(key="7"))
    other = await desk.intake(desk.message(channel="fake", address="family", key="7"))
    assert not other.again


async def test_messages_are_numbered_in_the_order_in_which_they_were_accepted(desk: Desk) -> None:
    found = await asyncio.gather(*(desk.intake(desk.message(f"{n}")) for n in range(50)))
    (session,) = {each.sessions[0] for each in found}
    rows = await desk.database.read(
        lambda conn: conn.execute(
            "SELECT h.seq, i.text FROM handovers h JOIN intake i ON i.id = h.message"
            " WHERE h.session = ? ORDER BY h.seq",
            (session,),
        ).fetchall()
    )
    assert rows == [(n + 1, f"{n}") for n in range(50)]


async def test_a_message_in_a_chat_of_several_agents_is_owed_to_each(desk: Desk) -> None:
    await desk.agent("ada")
    await desk.chat("family", SALVER, "ada")
    found = await desk.intake(desk.message(channel="fake", address="family"))
    rows = [await desk.session(session) for session in found.sessions]
    assert {row.agent for row in rows} == {SALVER, "ada"}
    assert sorted(desk.told) == sorted(found.sessions)


async def test_chats_that_share_an_agent_share_its_session(desk: Desk) -> None:
    await desk.chat("family", SALVER, mode="agent-shared")
    await desk.chat("work", SALVER, mode="agent-shared")
    one = await desk.intake(desk.message(channel="fake", address="family"))
    two = await desk.intake(desk.message(channel="fake", address="work"))
    assert one.sessions == two.sessions


async def test_a_message_for_later_waits_for_its_time(desk: Desk) -> None:
    found = await desk.intake(desk.message(due_in=3600))
    (session,) = found.sessions
    assert await desk.states(session) == ["received"]
    assert await due(desk, ahead=3599) == []
    assert await due(desk, ahead=3600) == [found.message]


async def test_a_message_that_was_due_long_ago_is_due_now(desk: Desk) -> None:
    found = await desk.intake(desk.message(due_in=-3600))
    assert await due(desk) == [found.message]


async def test_a_message_that_is_held_is_not_handed_over(desk: Desk) -> None:
    found = await desk.intake(desk.message(when="held"))
    (session,) = found.sessions
    assert await desk.states(session) == ["held"]
    assert await due(desk, ahead=86400) == []


@dataclass(frozen=True, kw_only=True)
class Case:
    id: str
    says: str
    text: str = "hello"
    sender: str = "you"
    key: str = "7"
    thread: str | None = None


@pytest.mark.parametrize(
    "case",
    [
        Case(id="empty", text="", says="The message is empty"),
        Case(id="blank", text=" \n\t", says="The message is empty"),
        Case(id="too-long", text="x" * (LONGEST_TEXT + 1), says="Send it in parts"),
        Case(id="no-sender", sender="", says="sender must have 1 to 400"),
        Case(id="long-sender", sender="x" * (LONGEST_NAME + 1), says="sender must have 1 to 400"),
        Case(id="no-key", key="", says="key must have 1 to 400"),
        Case(id="long-key", key="x" * (LONGEST_NAME + 1), says="key must have 1 to 400"),
        Case(id="long-thread", thread="x" * (LONGEST_NAME + 1), says="thread must have 1 to 400"),
        Case(id="half-a-character", text="hello \ud83d", says="half of a character"),
        Case(id="half-a-sender", sender="\udc00", says="half of a character"),
        Case(id="half-a-key", key="\udc00", says="half of a character"),
        Case(id="half-a-thread", thread="\udc00", says="half of a character"),
    ],
    ids=lambda case: case.id,
)
async def test_a_message_that_can_not_be_kept_is_refused(desk: Desk, case: Case) -> None:
    message = desk.message(case.text, sender=case.sender, thread=case.thread)
    with pytest.raises(Rejected, match=case.says):
        await desk.intake(replace(message, key=case.key))
    assert (await accepted(desk), desk.told) == ([], [])


async def test_a_message_for_the_end_of_all_days_is_refused(desk: Desk) -> None:
    west = timezone(-timedelta(hours=12))
    late = replace(desk.message(), due_at=datetime(9999, 12, 31, 23, 59, tzinfo=west))
    with pytest.raises(Rejected, match="beyond the calendar"):
        await desk.intake(late)
    await desk.intake(replace(late, due_at=datetime(9999, 12, 31, 23, 59, tzinfo=UTC)))


@pytest.mark.parametrize("text", ["x" * LONGEST_TEXT, "話して 👋", "a\0b", "\u2028a\r\n"])
async def test_any_other_text_is_kept_as_it_came(desk: Desk, text: str) -> None:
    await desk.intake(desk.message(text, key="7"))
    assert await accepted(desk) == [("7", text)]


async def test_a_chat_that_nobody_serves_refuses(desk: Desk) -> None:
    await desk.chat("family")
    for address in ("family", "strangers"):
        with pytest.raises(Missing, match=f"No agent serves the chat '{address}' on fake"):
            await desk.intake(desk.message(channel="fake", address=address))
    assert (await accepted(desk), desk.told) == ([], [])


async def test_a_full_disk_refuses_and_keeps_nothing(desk: Desk) -> None:
    def fill(conn: store.Connection) -> None:
        pages = conn.execute("PRAGMA page_count").fetchone()[0]
        conn.execute(f"PRAGMA max_page_count = {pages}")

    await desk.database.write(fill)
    with pytest.raises(NeedsUser, match=r"not accepted: .*disk is full.*Free some disk space"):
        await desk.intake(desk.message("x" * 100_000))
    assert (await accepted(desk), desk.told) == ([], [])


async def test_one_message_that_is_refused_takes_no_other_along(desk: Desk) -> None:
    good, bad = desk.message("good"), desk.message(channel="fake", address="strangers")
    found = await asyncio.gather(
        *(desk.intake(message) for message in (good, bad, replace(good, key="other"))),
        return_exceptions=True,
    )
    assert [type(each) for each in found] == [Accepted, Missing, Accepted]
    assert [text for _, text in await accepted(desk)] == ["good", "good"]


async def test_an_agent_that_was_removed_is_written_to_no_more(desk: Desk) -> None:
    await desk.intake(desk.message())
    now = desk.clock.stamp()
    await desk.database.write(lambda conn: agents.remove(conn, SALVER, now))
    with pytest.raises(Missing):
        await desk.intake(desk.message())


# Files


async def lies(desk: Desk) -> dict[str, bytes]:
    """Every file in the intake's folder, those of uploads under `upload`."""
    root = desk.places.intake
    return {
        f"{'upload' if path.parent.name.startswith('fil-') else path.parent.name}/{path.name}": path.read_bytes()
        for path in root.glob("*/*")
    }


async def test_a_message_comes_with_its_files(desk: Desk) -> None:
    ids = [await desk.upload("a.txt", b"one"), await desk.upload("a.txt", b"three")]
    found = await desk.intake(desk.message("look", files=ids))
    rows = await desk.database.read(
        lambda conn: [row.files for row in store.due(conn, found.sessions[0], desk.clock.stamp())]
    )
    assert [json.loads(row) for row in rows] == [
        [
            {"name": "a.txt", "type": "text/plain", "size": 3},
            {"name": "a-2.txt", "type": "text/plain", "size": 5},
        ]
    ]
    kept = await desk.database.read(lambda conn: files.of_message(conn, found.message))
    assert [(file.id, file.name) for file in kept] == [(ids[0], "a.txt"), (ids[1], "a-2.txt")]
    assert await lies(desk) == {
        f"{found.message}/a.txt": b"one",
        f"{found.message}/a-2.txt": b"three",
    }


async def test_a_message_may_be_files_alone(desk: Desk) -> None:
    found = await desk.intake(desk.message("", files=[await desk.upload()]))
    assert await desk.states(found.sessions[0]) == ["received"]


async def test_what_was_accepted_with_its_files_is_not_accepted_again(desk: Desk) -> None:
    id_ = await desk.upload()
    one = await desk.intake(desk.message("look", key="7", files=[id_]))
    two = await desk.intake(desk.message("look", key="7", files=[id_]))
    assert (two.message, two.again) == (one.message, True)
    assert list(await lies(desk)) == [f"{one.message}/a.txt"]


async def test_what_comes_twice_at_once_with_its_files_is_accepted_once(desk: Desk) -> None:
    id_ = await desk.upload()
    found = await asyncio.gather(
        *(desk.intake(desk.message("look", key="7", files=[id_])) for _ in range(5))
    )
    assert len({each.message for each in found}) == 1
    assert list(await lies(desk)) == [f"{found[0].message}/a.txt"]


async def test_an_upload_belongs_to_one_message(desk: Desk) -> None:
    id_ = await desk.upload()
    found = await asyncio.gather(
        *(desk.intake(desk.message(files=[id_])) for _ in range(5)), return_exceptions=True
    )
    (kept,) = [each for each in found if isinstance(each, Accepted)]
    assert all(isinstance(each, Conflict | Missing) for each in found if each is not kept)
    assert list(await lies(desk)) == [f"{kept.message}/a.txt"]


async def test_a_message_without_its_file_is_refused_and_leaves_the_others(desk: Desk) -> None:
    id_ = await desk.upload()
    with pytest.raises(Missing, match="no uploaded file"):
        await desk.intake(desk.message(files=[id_, FileId("fil-" + "0" * 20)]))
    assert await accepted(desk) == []
    assert await lies(desk) == {"upload/a.txt": b"a"}


@pytest.mark.parametrize(
    ("count", "words"), [(21, "at most 20 are accepted"), (2, "names a file twice")]
)
async def test_a_message_names_each_of_a_few_files(desk: Desk, count: int, words: str) -> None:
    id_ = await desk.upload()
    with pytest.raises(Rejected, match=words):
        await desk.intake(desk.message(files=[id_] * count))


async def test_what_could_not_be_accepted_leaves_its_upload(desk: Desk) -> None:
    """As on a full disk: nothing was kept, and the same message may be offered again."""
    id_ = await desk.upload()
    await desk.database.write(
        lambda conn: conn.execute(
            "CREATE TRIGGER forbidden BEFORE INSERT ON attachments BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    )
    message = desk.message(files=[id_])
    with pytest.raises(IntegrityError):
        await desk.intake(message)
    assert await lies(desk) == {"upload/a.txt": b"a"}
    await desk.database.write(lambda conn: conn.execute("DROP TRIGGER forbidden"))
    assert not (await desk.intake(message)).again
