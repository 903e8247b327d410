import pytest

from salver_server.errors import Conflict, Missing
from salver_server.ids import MessageId, SessionId
from salver_server.messages import HandoverState
from salver_server.sessions import store
from tests.server.conftest import Desk


async def orders(desk: Desk, session: SessionId) -> list[tuple[str, int | None]]:
    """Kind and target of the orders that are owed to a session, in order."""
    return await desk.database.read(
        lambda conn: conn.execute(
            "SELECT i.kind, h.target FROM handovers h JOIN intake i ON i.id = h.message"
            " WHERE h.session = ? AND i.kind IN ('cancel', 'stop') ORDER BY h.seq",
            (session,),
        ).fetchall()
    )


async def end(desk: Desk, message: MessageId, state: HandoverState) -> None:
    """A message comes to its end."""
    now = desk.clock.stamp()

    def settle(conn: store.Connection) -> None:
        session, seq = conn.execute(
            "SELECT session, seq FROM handovers WHERE message = ?", (message,)
        ).fetchone()
        store.settle(conn, session, seq, state=state, reason="", now=now)

    await desk.database.write(settle)


async def run(desk: Desk, session: SessionId, seq: int) -> None:
    """A runner claims a message."""
    now = desk.clock.stamp()
    await desk.database.write(lambda conn: store.claim(conn, session, seq, turn=1, now=now))


# Cancel


async def test_what_was_not_handed_over_is_cancelled_at_once(desk: Desk) -> None:
    found = await desk.intake(desk.message())
    assert await desk.intake.cancel(found.message) == "cancelled"
    assert await desk.states(found.sessions[0]) == ["cancelled"]


@pytest.mark.parametrize("wake", [False, True], ids=["asleep", "awake"])
async def test_what_waits_for_its_time_is_cancelled_at_once(desk: Desk, *, wake: bool) -> None:
    found = await desk.intake(desk.message(due_in=60))
    if wake:
        await desk.wake(found.sessions[0])
    assert await desk.intake.cancel(found.message) == "cancelled"
    assert await orders(desk, found.sessions[0]) == []


@pytest.mark.parametrize("wake", [False, True], ids=["asleep", "awake"])
async def test_what_is_held_is_cancelled_at_once(desk: Desk, *, wake: bool) -> None:
    found = await desk.intake(desk.message(when="held"))
    if wake:
        await desk.wake(found.sessions[0])
    assert await desk.intake.cancel(found.message) == "cancelled"
    assert await orders(desk, found.sessions[0]) == []


async def test_what_no_runner_has_is_cancelled_at_once_although_it_was_handed_over(
    desk: Desk,
) -> None:
    found = await desk.intake(desk.message())
    await desk.queue(found.sessions[0])
    assert await desk.intake.cancel(found.message) == "cancelled"
    assert await orders(desk, found.sessions[0]) == []


async def test_what_a_runner_may_have_is_for_the_runner_to_cancel(desk: Desk) -> None:
    found = await desk.intake(desk.message())
    (session,) = found.sessions
    await desk.queue(session)
    await desk.wake(session)
    assert await desk.intake.cancel(found.message) == "queued"
    assert await orders(desk, session) == [("cancel", 1)]
    assert desk.told == [session, session]


async def test_what_is_just_being_handed_to_a_runner_is_for_the_runner_to_cancel(
    desk: Desk,
) -> None:
    found = await desk.intake(desk.message())
    (session,) = found.sessions
    await desk.wake(session)
    # It may lie in inbound.db already, though nobody has noted that yet.
    assert await desk.intake.cancel(found.message) == "received"
    assert await orders(desk, session) == [("cancel", 1)]


async def test_what_runs_is_for_the_runner_to_cancel(desk: Desk) -> None:
    found = await desk.intake(desk.message())
    (session,) = found.sessions
    await desk.queue(session)
    await desk.wake(session)
    await run(desk, session, 1)
    assert await desk.intake.cancel(found.message) == "running"
    assert await orders(desk, session) == [("cancel", 1)]


async def test_what_has_ended_is_not_cancelled(desk: Desk) -> None:
    found = await desk.intake(desk.message())
    await end(desk, found.message, "answered")
    assert await desk.intake.cancel(found.message) == "answered"
    assert await desk.states(found.sessions[0]) == ["answered"]


async def test_a_message_is_cancelled_in_each_of_its_sessions(desk: Desk) -> None:
    await desk.agent("ada")
    await desk.chat("family", "salver", "ada")
    found = await desk.intake(desk.message(channel="fake", address="family"))
    await desk.intake.cancel(found.message)
    assert [await desk.states(session) for session in found.sessions] == [["cancelled"]] * 2


async def test_only_what_a_person_said_can_be_cancelled(desk: Desk) -> None:
    found = await desk.intake(desk.message())
    (session,) = found.sessions
    await desk.queue(session)
    await desk.wake(session)
    await desk.intake.stop(session)
    order = await desk.database.read(
        lambda conn: conn.execute("SELECT id FROM intake WHERE kind = 'stop'").fetchone()[0]
    )
    for id_ in (order, "msg-nothing"):
        with pytest.raises(Missing, match=f"There is no message '{id_}'"):
            await desk.intake.cancel(MessageId(id_))
    assert await orders(desk, session) == [("stop", None)]


# Stop


async def test_without_a_runner_everything_that_waits_is_stopped_at_once(desk: Desk) -> None:
    found = [await desk.intake(desk.message(f"{n}")) for n in range(2)]
    (session,) = found[0].sessions
    await desk.queue(session)
    await desk.intake.stop(session)
    assert await desk.states(session) == ["stopped", "stopped"]


async def test_what_is_about_to_be_handed_over_is_stopped_too(desk: Desk) -> None:
    found = await desk.intake(desk.message())
    await desk.intake.stop(found.sessions[0])
    assert await desk.states(found.sessions[0]) == ["stopped"]


@pytest.mark.parametrize("wake", [False, True], ids=["asleep", "awake"])
async def test_what_waits_for_its_time_or_a_person_is_not_stopped(
    desk: Desk, *, wake: bool
) -> None:
    await desk.intake(desk.message(due_in=60))
    found = await desk.intake(desk.message(when="held"))
    (session,) = found.sessions
    if wake:
        await desk.wake(session)
    await desk.intake.stop(session)
    assert (await desk.states(session))[:2] == ["received", "held"]


async def test_with_a_runner_on_record_the_runner_is_told_to_stop(desk: Desk) -> None:
    found = await desk.intake(desk.message())
    (session,) = found.sessions
    await desk.queue(session)
    await desk.wake(session)
    await desk.intake.stop(session)
    assert await orders(desk, session) == [("stop", None)]
    assert await desk.states(session) == ["queued", "received"]
    assert desk.told == [session, session]


async def test_an_order_comes_after_everything_that_was_said_before_it(desk: Desk) -> None:
    found = await desk.intake(desk.message("before"))
    (session,) = found.sessions
    await desk.wake(session)
    await desk.intake.stop(session)
    await desk.intake(desk.message("after"))
    now = desk.clock.stamp()
    rows = await desk.database.read(lambda conn: store.due(conn, session, now))
    assert [(row.seq, row.kind) for row in rows] == [(1, "message"), (2, "stop"), (3, "message")]


async def test_only_an_open_session_can_be_stopped(desk: Desk) -> None:
    found = await desk.intake(desk.message())
    now = desk.clock.stamp()
    await desk.database.write(lambda conn: store.close_session(conn, found.sessions[0], now))
    for session in (found.sessions[0], SessionId("ses-nothing")):
        with pytest.raises(Missing, match=f"There is no open session '{session}'"):
            await desk.intake.stop(session)


# Retry


@pytest.mark.parametrize("state", ["failed", "stopped", "cancelled"])
async def test_what_ended_unanswered_can_be_tried_again(desk: Desk, state: HandoverState) -> None:
    found = await desk.intake(desk.message("please", thread="dinner", sender="ann"))
    await end(desk, found.message, state)
    desk.clock.advance(1)
    again = await desk.intake.retry(found.message)
    assert again.message != found.message
    assert again.sessions == found.sessions
    now = desk.clock.stamp()
    (row,) = await desk.database.read(lambda conn: store.due(conn, again.sessions[0], now))
    assert (row.text, row.sender, row.attempts) == ("please", "ann", 0)
    assert await desk.state(found.message) == state


@pytest.mark.parametrize("state", ["received", "answered"])
async def test_what_is_still_owed_or_was_answered_is_not_tried_again(
    desk: Desk, state: HandoverState
) -> None:
    found = await desk.intake(desk.message())
    if state == "answered":
        await end(desk, found.message, state)
    with pytest.raises(Conflict, match=f"is {state}; only one that ended unanswered"):
        await desk.intake.retry(found.message)


async def test_what_is_not_there_is_not_tried_again(desk: Desk) -> None:
    with pytest.raises(Missing):
        await desk.intake.retry(MessageId("msg-nothing"))


async def test_what_is_tried_again_comes_with_its_files_again(desk: Desk) -> None:
    found = await desk.intake(desk.message(files=[await desk.upload("a.txt", b"hello")]))
    await end(desk, found.message, "failed")
    desk.clock.advance(1)
    again = await desk.intake.retry(found.message)
    for message in (found.message, again.message):
        assert (desk.places.intake / message / "a.txt").read_bytes() == b"hello"
    assert len(list(desk.places.intake.iterdir())) == 2


async def test_a_message_whose_file_is_gone_is_not_tried_again(desk: Desk) -> None:
    found = await desk.intake(desk.message(files=[await desk.upload("a.txt")]))
    await end(desk, found.message, "failed")
    (desk.places.intake / found.message / "a.txt").unlink()
    with pytest.raises(Conflict, match=r"'a\.txt' of message .* is gone\. Send the message anew"):
        await desk.intake.retry(found.message)
