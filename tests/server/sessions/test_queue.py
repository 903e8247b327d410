"""What waits for a free agent goes when nothing else is owed, whoever settles the last thing."""

import pytest

from salver_server.runtimes import Exit
from salver_server.sessions import queue, store, views
from salver_server.sessions.burial import End, settle
from tests.server.sessions.conftest import Scribe, Talk
from tests.server.sessions.stage import Stage


async def texts(talk: Talk) -> list[tuple[str, str]]:
    """Text and state of every message, in order of its number."""
    rows = await talk.ask(
        "SELECT i.text, h.state FROM handovers h JOIN intake i ON i.id = h.message"
        " WHERE h.session = ? AND i.kind = 'message' ORDER BY h.seq"
    )
    return [(text, state) for text, state in rows]


async def wait(talk: Talk, *texts: str) -> None:
    for text in texts:
        await talk.write(text, when="free")


async def test_who_is_free_gets_at_once_what_waits_for_that(talk: Talk) -> None:
    await talk.take(*talk.scribe.answer("hi", 1))
    await wait(talk, "next")
    assert await talk.states() == ["answered", "received"]


async def test_who_is_busy_gets_it_after_the_answer_one_at_a_time(talk: Talk) -> None:
    await wait(talk, "next", "last")
    assert await texts(talk) == [("hello", "queued"), ("next", "held"), ("last", "held")]
    news = await talk.take(*talk.scribe.answer("hi", 1))
    assert news.released
    assert await texts(talk) == [("hello", "answered"), ("last", "held"), ("next", "received")]
    await talk.desk.queue(talk.session)
    assert not (await talk.take(talk.scribe.claim(4))).released
    assert (await talk.take(talk.scribe.ack(4, "failed", "No."))).released
    assert (await texts(talk))[-1] == ("last", "received")


async def test_a_message_that_goes_comes_after_everything_that_was_handed_over(talk: Talk) -> None:
    await wait(talk, "next")
    await talk.say("in between")
    await talk.take(*talk.scribe.answer("hi", 1, 3))
    assert await texts(talk) == [
        ("hello", "answered"), ("in between", "answered"), ("next", "received")
    ]  # fmt: skip


async def test_what_a_person_holds_stands_in_nobody_s_way(talk: Talk) -> None:
    await talk.write("mine", when="held")
    await wait(talk, "next")
    await talk.take(*talk.scribe.answer("hi", 1))
    assert await texts(talk) == [("hello", "answered"), ("mine", "held"), ("next", "received")]


async def test_what_comes_later_and_what_only_the_agent_is_told_is_not_owed_now(talk: Talk) -> None:
    await talk.write("tomorrow", due_in=3600)
    await wait(talk, "next")
    await talk.take(talk.scribe.claim(1), talk.scribe.ack(1, "failed", "No."))
    assert await talk.notes() == ["Message 1 could not be answered. No."]
    assert ("next", "received") in await texts(talk)


@pytest.mark.parametrize("ends", ["cancel", "stop"])
async def test_it_goes_when_a_person_ends_the_last_thing(talk: Talk, ends: str) -> None:
    await wait(talk, "next")
    if ends == "cancel":
        await talk.desk.intake.cancel(talk.messages[1])
    else:
        await talk.desk.intake.stop(talk.session)
    assert ("next", "received") in await texts(talk)


async def test_an_order_to_a_runner_is_owed_until_it_is_obeyed(talk: Talk) -> None:
    await talk.desk.wake(talk.session)
    await wait(talk, "next")
    await talk.desk.intake.stop(talk.session)
    await talk.desk.queue(talk.session)
    await talk.take(talk.scribe.claim(1), talk.scribe.ack(1, "stopped", "Stopped."))
    assert ("next", "held") in await texts(talk)
    await talk.take(talk.scribe.ack(3, "done", ""))
    assert ("next", "received") in await texts(talk)


async def test_it_goes_when_a_burial_ends_the_last_thing(talk: Talk) -> None:
    await talk.desk.wake(talk.session)
    await wait(talk, "next")
    await talk.desk.intake.stop(talk.session)
    end = End(
        session=await talk.row(),
        runtime="fake",
        exit=Exit(cause="killed", code=-9, detail="Somebody killed it."),
        blameless=True,
    )
    now = talk.desk.clock.stamp()
    await talk.desk.database.write(lambda conn: settle(conn, end, now))
    assert ("next", "received") in await texts(talk)


async def test_a_closed_session_releases_nothing(talk: Talk) -> None:
    await wait(talk, "next")
    now = talk.desk.clock.stamp()
    await talk.desk.database.write(lambda conn: store.close_session(conn, talk.session, now))
    assert await talk.states() == ["cancelled", "cancelled"]


async def test_a_runner_at_work_on_the_memory_is_not_free(talk: Talk) -> None:
    await talk.take(*talk.scribe.answer("hi", 1))
    await talk.write("/compact")
    await talk.desk.queue(talk.session)
    now = talk.desk.clock.stamp()
    assert not await talk.read(lambda conn: queue.busy(conn, talk.session, now))
    await talk.take(talk.scribe.claim(2))
    assert await talk.read(lambda conn: queue.busy(conn, talk.session, now))


async def test_the_place_in_the_queue_can_be_seen(talk: Talk) -> None:
    await wait(talk, "one")
    await talk.write("two", when="held")
    found = await talk.read(lambda conn: views.open_messages(conn, talk.session))
    assert [(view.text, view.position, view.release) for view in found] == [
        ("one", 1, "free"),
        ("two", 2, "person"),
        ("hello", None, None),
    ]


async def test_what_was_overlooked_is_found(stage: Stage) -> None:
    """As when the wall clock jumps back over the moment at which something was due."""
    live = await stage.wakes()
    await stage.desk.intake(stage.desk.message("next", when="free"))
    session = live.session.id
    await stage.desk.database.write(
        lambda conn: conn.execute("UPDATE handovers SET state = 'answered' WHERE state <> 'held'")
    )
    keeping = stage.tasks.create_task(stage.inbox.keep_time())
    await stage.until(lambda: stage.desk.database.glance(lambda conn: store.owes(conn, session)))
    keeping.cancel()
    assert await stage.desk.states(session) == ["answered", "queued"]


async def test_what_a_page_of_rows_releases_is_handed_over(stage: Stage) -> None:
    live = await stage.wakes()
    session = live.session.id
    await stage.quiet()
    await stage.desk.intake(stage.desk.message("next", when="free"))
    (await stage.outbound(live)).write(*Scribe().answer("hi", 1))
    stage.outbox.ask(session)
    await stage.until(lambda: stage.desk.database.glance(lambda conn: store.owes(conn, session)))
    await stage.quiet()
    assert await stage.desk.states(session) == ["answered", "queued"]
