import re
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection, IntegrityError

import pytest

from salver_server.delivery import store as deliveries
from salver_server.ids import AgentName, ChatId, SessionId
from salver_server.messages import HandoverState
from salver_server.sessions import queue, store, views
from tests.server.conftest import SALVER, Desk
from tests.server.sessions.conftest import Talk


async def open_session(
    desk: Desk, chat: ChatId | None, thread: str | None, *, agent: str = SALVER
) -> SessionId:
    now = desk.clock.stamp()
    return await desk.database.write(
        lambda conn: store.open_session(conn, AgentName(agent), chat, thread, epoch=7, now=now)
    )


async def close(desk: Desk, session: SessionId) -> bool:
    now = desk.clock.stamp()
    return await desk.database.write(lambda conn: store.close_session(conn, session, now))


# Opening and closing


async def test_a_place_has_one_open_session(desk: Desk) -> None:
    await desk.agent("ada")
    one, other = await desk.chat("one"), await desk.chat("other")
    places = [(one, None), (one, "a"), (one, "b"), (other, None), (other, "a"), (None, None)]
    found = [await open_session(desk, chat, thread) for chat, thread in places]
    assert len(set(found)) == len(places)
    assert [await open_session(desk, chat, thread) for chat, thread in places] == found
    assert await open_session(desk, one, None, agent="ada") not in found


async def test_what_a_closed_session_still_owed_is_cancelled(talk: Talk) -> None:
    await talk.write("later", due_in=60)
    await talk.write("held", when="held")
    await talk.take(talk.scribe.claim(1))
    assert await close(talk.desk, talk.session)
    assert await talk.states() == ["cancelled"] * 3
    (reason,) = {row[0] for row in await talk.ask("SELECT reason FROM handovers WHERE session = ?")}
    assert reason == "The session was closed."


async def test_closing_leaves_what_was_settled(talk: Talk) -> None:
    await talk.take(*talk.scribe.answer("hi", 1))
    await close(talk.desk, talk.session)
    assert await talk.states() == ["answered"]


async def test_a_session_is_closed_once(talk: Talk) -> None:
    assert [await close(talk.desk, talk.session) for _ in range(2)] == [True, False]


async def test_closed_sessions_are_listed_only_when_asked_for(talk: Talk) -> None:
    desk = talk.desk
    desk.clock.advance(1)
    (other,) = (await desk.intake(desk.message(thread="dinner"))).sessions
    assert [row.id for row in await talk.read(store.sessions)] == [other, talk.session]
    await close(desk, talk.session)
    assert [row.id for row in await talk.read(store.sessions)] == [other]
    everyone = await talk.read(lambda conn: store.sessions(conn, closed=True))
    assert {row.id for row in everyone} == {talk.session, other}


async def test_a_closed_session_is_not_woken(talk: Talk) -> None:
    assert await talk.read(store.sessions_pending) == [talk.session]
    await close(talk.desk, talk.session)
    assert await talk.read(store.sessions_pending) == []


# Settled, as a runner is told


@dataclass(frozen=True, kw_only=True)
class Case:
    id: str
    states: list[HandoverState]
    ranges: list[tuple[int, int]]


@pytest.mark.parametrize(
    "case",
    [
        Case(id="nothing", states=["queued"], ranges=[]),
        Case(id="everything", states=["answered", "failed", "done"], ranges=[(1, 3)]),
        Case(id="the-first", states=["answered", "queued"], ranges=[(1, 1)]),
        Case(id="the-last", states=["queued", "answered"], ranges=[(2, 2)]),
        Case(
            id="with-gaps",
            states=["answered", "running", "stopped", "cancelled", "received", "held", "done"],
            ranges=[(1, 1), (3, 4), (6, 7)],
        ),
    ],
    ids=lambda case: case.id,
)
async def test_the_ranges_in_which_nothing_is_owed(desk: Desk, case: Case) -> None:
    session = await open_session(desk, None, None)
    await desk.chat("family", SALVER, mode="agent-shared")
    for seq, state in enumerate(case.states, start=1):
        await desk.intake(desk.message(channel="fake", address="family"))
        await desk.database.write(
            lambda conn, seq=seq, state=state: conn.execute(
                "UPDATE handovers SET state = ? WHERE seq = ?", (state, seq)
            )
        )
    assert await desk.database.read(lambda conn: store.settled(conn, session)) == case.ranges


async def test_a_session_without_messages_has_nothing_settled(desk: Desk) -> None:
    session = await open_session(desk, None, None)
    assert await desk.database.read(lambda conn: store.settled(conn, session)) == []


# Waking


async def test_who_has_waited_longest_is_woken_first(desk: Desk) -> None:
    found: list[SessionId] = []
    for thread in ("a", "b", "c"):
        (session,) = (await desk.intake(desk.message(thread=thread))).sessions
        await desk.queue(session)
        found.append(session)
        desk.clock.advance(1)
    await desk.intake(desk.message(thread="a"))
    await desk.queue(found[0])
    assert await desk.database.read(store.sessions_pending) == found


async def test_what_was_handed_over_is_all_that_a_new_file_must_hold(talk: Talk) -> None:
    await talk.write("later", due_in=60)
    await talk.write("held", when="held")
    await talk.say("and?")
    await talk.take(*talk.scribe.answer("hi", 1))
    found = await talk.read(lambda conn: store.handed_over(conn, talk.session))
    assert [row.seq for row in found] == [1, 4]


async def test_each_owner_has_a_number_of_its_own_and_is_on_record_before_it_exists(
    talk: Talk,
) -> None:
    assert await talk.desk.wake(talk.session) == 1
    (record,) = await talk.read(store.sandboxes)
    assert (record.session, record.generation, record.handle) == (talk.session, 1, None)
    await talk.desk.database.write(lambda conn: store.forget_sandbox(conn, talk.session))
    assert await talk.desk.wake(talk.session) == 2


async def test_a_session_never_has_two_owners(talk: Talk) -> None:
    await talk.desk.wake(talk.session)
    with pytest.raises(IntegrityError):
        await talk.desk.wake(talk.session)
    assert (await talk.row()).generation == 1


async def test_only_the_present_owner_s_handle_is_kept(talk: Talk) -> None:
    await talk.desk.wake(talk.session)
    for generation, handle in ((1, "mine"), (2, "another's")):
        await talk.desk.database.write(
            lambda conn, generation=generation, handle=handle: store.keep_handle(
                conn, talk.session, generation, handle
            )
        )
    (record,) = await talk.read(store.sandboxes)
    assert record.handle == "mine"


async def test_why_a_session_waits_is_said_and_taken_back(talk: Talk) -> None:
    for trouble in ("The disk is full.", "The disk is full.", ""):
        await talk.desk.database.write(
            lambda conn, trouble=trouble: store.say_trouble(conn, talk.session, trouble)
        )
        assert (await talk.row()).trouble == trouble


# When no sandbox lives


async def test_a_stop_that_no_runner_answered_ends_what_was_said_before_it(talk: Talk) -> None:
    await talk.desk.wake(talk.session)
    await talk.say("running")
    await talk.take(talk.scribe.claim(2))
    await talk.desk.intake.stop(talk.session)
    await talk.desk.queue(talk.session)
    await talk.say("after")
    await obey(talk)
    assert await talk.states() == ["stopped", "stopped", "done", "queued"]


async def test_a_cancel_that_no_runner_answered_ends_its_message(talk: Talk) -> None:
    await talk.desk.wake(talk.session)
    await talk.say("and?")
    await talk.desk.intake.cancel(talk.messages[1])
    await talk.desk.queue(talk.session)
    await obey(talk)
    assert await talk.states() == ["cancelled", "queued", "done"]


async def test_an_order_that_was_not_even_handed_over_counts_too(talk: Talk) -> None:
    await talk.desk.wake(talk.session)
    await talk.write("in between")
    await talk.write("later", due_in=60)
    await talk.desk.intake.stop(talk.session)
    await obey(talk)
    assert await talk.states() == ["stopped", "stopped", "received", "done"]


async def obey(talk: Talk) -> None:
    now = talk.desk.clock.stamp()
    await talk.desk.database.write(lambda conn: store.obey_orders(conn, talk.session, now))


# Growth


async def test_no_question_of_everyday_searches_what_is_long_over(talk: Talk) -> None:
    """SQLite looks only at what is open, or follows a key; nothing grows with the history."""
    session, now = talk.session, talk.desk.clock.stamp()
    asked: list[str] = []

    def ask(conn: Connection) -> list[str]:
        conn.set_trace_callback(asked.append)
        store.due(conn, session, now)
        store.due_later(conn, session, after=now)
        store.sessions_due(conn, now)
        store.next_due(conn, after=now)
        store.settled(conn, session)
        store.pending(conn, session)
        store.owes(conn, session)
        store.running(conn, session)
        store.sessions_pending(conn)
        store.sessions_ordered(conn)
        store.kind_of(conn, session, 1, now)
        deliveries.open_of(conn, ChatId("chat"), most=1, outgoing=Path())
        queue.busy(conn, session, now)
        queue.release_next(conn, session, now)
        queue.overlooked(conn, now)
        queue.waiting(conn, session)
        views.open_messages(conn, session)
        views.work(conn, session, now)
        deliveries.chats_open(conn)
        deliveries.resolve_cut_off(conn, [], now)
        conn.set_trace_callback(None)
        return [
            row[3]
            for sql in asked
            for row in conn.execute(f"EXPLAIN QUERY PLAN {sql}")
            if row[3].startswith(("SCAN", "SEARCH"))
        ]

    steps = await talk.desk.database.write(ask)
    assert len(steps) >= len(asked) > 14
    allowed = re.compile(
        r"(SCAN|SEARCH) .*INDEX (handovers|deliveries)_(open|due|free)\b|SEARCH .*(session|id|chat|message)=\?"
    )
    assert [step for step in steps if not allowed.search(step)] == []
    searched = [step for step in steps if "PRIMARY KEY (session=?)" in step]
    assert searched == [], "a whole session is searched"
