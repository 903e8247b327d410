from dataclasses import dataclass

import pytest

from salver_server.sessions import views
from tests.server.sessions.conftest import Talk


async def view(talk: Talk, seq: int = 1) -> views.MessageView:
    found = await talk.read(lambda conn: views.message(conn, talk.messages[seq]))
    assert found is not None
    return found


async def deliver(talk: Talk, state: str, reason: str = "") -> None:
    """What becomes of every delivery of the session."""
    await talk.desk.database.write(
        lambda conn: conn.execute(
            "UPDATE deliveries SET state = ?, reason = ? WHERE session = ?",
            (state, reason, talk.session),
        )
    )


async def test_a_message_is_seen_with_all_that_is_known_of_it(talk: Talk) -> None:
    talk.desk.clock.advance(1)
    await talk.take(talk.scribe.claim(1))
    found = await view(talk)
    assert found == views.MessageView(
        id=talk.messages[1],
        session=talk.session,
        seq=1,
        sender="you",
        text="hello",
        files=(),
        state="running",
        position=None,
        release=None,
        reason="",
        delivery=None,
        attempts=1,
        turn=1,
        accepted_at=talk.desk.clock.stamp(-1),
        due_at=talk.desk.clock.stamp(-1),
        changed_at=talk.desk.clock.stamp(),
        final=False,
    )


@dataclass(frozen=True, kw_only=True)
class Case:
    delivery: str
    reason: str = ""
    state: str
    says: str
    final: bool


@pytest.mark.parametrize(
    "case",
    [
        Case(delivery="waiting", state="answered", says="", final=False),
        Case(delivery="waiting", reason="Busy.", state="answered", says="Busy.", final=False),
        Case(delivery="sending", state="answered", says="", final=False),
        Case(delivery="delivered", state="delivered", says="", final=True),
        Case(delivery="perhaps", reason="Cut.", state="perhaps delivered", says="Cut.", final=True),
        Case(
            delivery="failed",
            reason="Blocked.",
            state="failed",
            says="It was answered, but the reply could not be delivered: Blocked.",
            final=True,
        ),
    ],
    ids=lambda case: f"{case.delivery}-{case.reason}",
)
async def test_an_answered_message_is_as_far_as_its_reply(talk: Talk, case: Case) -> None:
    await talk.take(*talk.scribe.answer("hi", 1))
    await deliver(talk, case.delivery, case.reason)
    found = await view(talk)
    assert (found.state, found.reason, found.final) == (case.state, case.says, case.final)


async def test_an_answer_without_a_word_is_an_end_too(talk: Talk) -> None:
    await talk.take(talk.scribe.claim(1), talk.scribe.ack(1))
    found = await view(talk)
    assert (found.state, found.final) == ("answered", True)


@pytest.mark.parametrize("outcome", ["failed", "stopped", "cancelled"])
async def test_what_ended_unanswered_has_ended(talk: Talk, outcome: str) -> None:
    await talk.take(talk.scribe.claim(1), talk.scribe.ack(1, outcome, "So it goes."))
    found = await view(talk)
    assert (found.state, found.reason, found.final) == (outcome, "So it goes.", True)


async def test_the_final_reply_is_found_by_its_message(talk: Talk) -> None:
    await talk.say("and?")
    assert await talk.read(lambda conn: views.reply(conn, talk.messages[1])) == ""
    await talk.take(
        talk.scribe.send("wait"), *talk.scribe.answer("hi", 1), talk.scribe.ack(2, "failed", "no")
    )
    replies = [
        await talk.read(lambda conn, seq=seq: views.reply(conn, talk.messages[seq]))
        for seq in (1, 2)
    ]
    assert replies == ["hi", ""]


async def test_only_what_people_said_is_shown_as_a_message(talk: Talk) -> None:
    await talk.desk.wake(talk.session)
    await talk.desk.intake.cancel(talk.messages[1])
    await talk.say("and?")
    await talk.take(talk.scribe.claim(3), talk.scribe.ack(3, "failed", "no"))
    found = await talk.read(lambda conn: views.messages(conn, talk.session, most=10))
    assert [message.text for message in found] == ["hello", "and?"]
    order = await talk.ask("SELECT message FROM handovers WHERE session = ? AND target IS NOT NULL")
    assert await talk.read(lambda conn: views.message(conn, order[0][0])) is None


async def test_a_long_session_shows_its_latest_messages_and_deliveries(talk: Talk) -> None:
    for number in range(2, 6):
        await talk.say(f"{number}")
        await talk.take(*talk.scribe.answer(f"{number}", number))
        talk.desk.clock.advance(1)
    messages = await talk.read(lambda conn: views.messages(conn, talk.session, most=3))
    assert [message.text for message in messages] == ["3", "4", "5"]
    found = await talk.read(lambda conn: views.latest_deliveries(conn, talk.session, most=3))
    assert [delivery.text for delivery in found] == ["3", "4", "5"]


async def test_deliveries_are_read_on_from_a_position(talk: Talk) -> None:
    await talk.take(talk.scribe.claim(1), *(talk.scribe.send(f"{n}") for n in range(4)))
    since = talk.desk.clock.stamp()
    every = await talk.read(lambda conn: views.deliveries(conn, talk.session, since=since))
    assert [delivery.text for delivery in every] == ["0", "1", "2", "3"]
    after = every[1].position
    rest = await talk.read(
        lambda conn: views.deliveries(conn, talk.session, since=since, after=after)
    )
    assert [delivery.text for delivery in rest] == ["2", "3"]
    later = talk.desk.clock.stamp(1)
    assert await talk.read(lambda conn: views.deliveries(conn, talk.session, since=later)) == []


async def test_sessions_that_owe_something_are_counted(talk: Talk) -> None:
    await talk.say("running")
    await talk.write("later", due_in=60)
    await talk.take(talk.scribe.claim(2))
    assert await talk.read(views.counts) == {talk.session: views.Counts(waiting=2, running=1)}
    await talk.take(talk.scribe.ack(1), talk.scribe.ack(2), talk.scribe.ack(1))
    assert await talk.read(views.counts) == {talk.session: views.Counts(waiting=1, running=0)}


async def test_a_note_is_owed_to_nobody(talk: Talk) -> None:
    await talk.take(talk.scribe.claim(1), talk.scribe.ack(1, "failed", "no"))
    assert await talk.read(views.counts) == {}
