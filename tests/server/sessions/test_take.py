from dataclasses import dataclass, replace
from typing import Any

import pytest

from salver_server.errors import Broken
from salver_server.files import store as files
from salver_server.ids import DeliveryId, FileId
from salver_server.messages import LONGEST_TEXT, File
from salver_server.sessions import store
from salver_server.sessions.outgoing import Taken
from salver_server.sessions.take import LONGEST_REASON
from tests.server.sessions.conftest import Scribe, Talk

# What an honest runner writes


async def test_a_claimed_message_runs_and_its_attempt_counts(talk: Talk) -> None:
    news = await talk.take(talk.scribe.claim(1))
    assert (await talk.states(), await talk.attempts()) == (["running"], [1])
    assert (news.rows, news.closed) == (1, False)


async def test_a_released_message_waits_again_and_its_attempt_does_not_count(talk: Talk) -> None:
    await talk.take(talk.scribe.claim(1), talk.scribe.release(1))
    assert (await talk.states(), await talk.attempts()) == (["queued"], [0])


async def test_a_reply_is_owed_to_the_chat_and_settles_what_it_answers(talk: Talk) -> None:
    await talk.say("and?")
    news = await talk.take(*talk.scribe.answer("hi", 1, 2))
    assert await talk.states() == ["answered", "answered"]
    assert await talk.told() == [("reply", "hi", [1, 2])]
    assert (news.closed, news.chats) == (True, set(await talk.chats()))


async def test_a_message_in_between_is_owed_without_settling_anything(talk: Talk) -> None:
    news = await talk.take(talk.scribe.claim(1), talk.scribe.send("wait a moment"))
    assert await talk.states() == ["running"]
    assert await talk.told() == [("send", "wait a moment", [])]
    assert not news.closed


@dataclass(frozen=True, kw_only=True)
class Outcome:
    outcome: str
    state: str


@pytest.mark.parametrize(
    "case",
    [
        Outcome(outcome="answered", state="answered"),
        Outcome(outcome="failed", state="failed"),
        Outcome(outcome="stopped", state="stopped"),
        Outcome(outcome="cancelled", state="cancelled"),
    ],
    ids=lambda case: case.outcome,
)
async def test_the_outcome_says_how_a_message_ended(talk: Talk, case: Outcome) -> None:
    await talk.take(talk.scribe.claim(1), talk.scribe.ack(1, case.outcome, "why"))
    row = await talk.ask("SELECT state, reason FROM handovers WHERE session = ? ORDER BY seq")
    assert row[0] == (case.state, "why")


async def test_a_file_that_was_taken_comes_with_the_message_that_sends_it(talk: Talk) -> None:
    row = talk.scribe.row("send", text="here", files=[{}])
    file = File(id=FileId("fil-1"), name="a.txt", type="text/plain", size=5)
    taken = Taken(delivery=DeliveryId("del-1"), files=(file,), refused=())
    await talk.take(row, taken={row.seq: taken})
    assert await talk.told() == [("send", "here", [])]
    assert await talk.read(lambda conn: files.of_delivery(conn, DeliveryId("del-1"))) == (file,)
    assert await talk.notes() == []


@pytest.mark.parametrize(
    ("text", "told"), [("here", "here\n(It is gone.)"), ("", "(It is gone.)")], ids=["text", "none"]
)
async def test_a_file_that_could_not_be_taken_is_told_to_the_person_and_to_the_agent(
    talk: Talk, text: str, told: str
) -> None:
    row = talk.scribe.row("send", text=text, files=[{}])
    taken = Taken(delivery=DeliveryId("del-1"), files=(), refused=("It is gone.",))
    await talk.take(row, taken={row.seq: taken})
    assert await talk.told() == [("send", told, [])]
    assert await talk.notes() == ["It is gone."]


async def test_a_failure_is_told_to_the_person_and_to_the_agent(talk: Talk) -> None:
    news = await talk.take(talk.scribe.claim(1), talk.scribe.ack(1, "failed", "The model is gone."))
    assert await talk.told() == [("failure", "The model is gone.", [1])]
    assert await talk.notes() == ["Message 1 could not be answered. The model is gone."]
    assert news.chats == set(await talk.chats())


async def test_a_note_does_not_wake_the_agent(talk: Talk) -> None:
    await talk.take(talk.scribe.claim(1), talk.scribe.ack(1, "failed", "The model is gone."))
    await talk.desk.queue(talk.session)
    assert await talk.read(store.sessions_pending) == []


async def test_a_note_that_was_part_of_a_failed_turn_breeds_no_other_note(talk: Talk) -> None:
    scribe = talk.scribe
    await talk.take(scribe.claim(1), scribe.ack(1, "failed", "No."))
    await talk.say("again")
    await talk.take(
        scribe.claim(2), scribe.claim(3), scribe.ack(2, "failed", "No."), scribe.ack(3, "failed", "No.")
    )  # fmt: skip
    assert await talk.notes() == [
        "Message 1 could not be answered. No.",
        "Message 3 could not be answered. No.",
    ]
    assert [kind for kind, _, _ in await talk.told()] == ["failure", "failure"]


async def test_what_a_turn_keeps_is_kept_for_the_next_file(talk: Talk) -> None:
    rows = [
        talk.scribe.row("continuation", provider="demo", messages=[{"role": "user", "n": n}])
        for n in (1, 2)
    ]
    await talk.take(*rows)
    before = (await talk.row()).epoch
    assert await talk.read(lambda conn: store.history(conn, talk.session, before=before)) == []
    assert await talk.read(lambda conn: store.history(conn, talk.session, before=before + 1)) == [
        ("demo", '[{"role": "user", "n": 1}]'),
        ("demo", '[{"role": "user", "n": 2}]'),
    ]


async def test_a_conversation_that_began_anew_is_never_told_of_what_was_before(talk: Talk) -> None:
    row = talk.scribe.row
    await talk.take(
        row("continuation", provider="demo", messages=["old"]),
        row("continuation", provider="demo", messages=["kept"], reset=True),
        row("continuation", provider="demo", messages=["new"]),
    )
    before = (await talk.row()).epoch
    assert await talk.read(lambda conn: store.history(conn, talk.session, before=before + 1)) == [
        ("demo", '["kept"]'),
        ("demo", '["new"]'),
    ]
    assert len(await talk.ask("SELECT seq FROM continuations WHERE session = ?")) == 3


async def test_what_begins_anew_in_the_present_file_ends_what_earlier_ones_kept(talk: Talk) -> None:
    await talk.take(talk.scribe.row("continuation", provider="demo", messages=["old"]))
    await talk.desk.database.write(lambda conn: store.new_file(conn, talk.session, 4711))
    talk.scribe = Scribe()
    assert await earlier(talk) == [("demo", '["old"]')]
    await talk.take(talk.scribe.row("continuation", provider="demo", messages=[], reset=True))
    assert await earlier(talk) == []


async def earlier(talk: Talk) -> list[tuple[str, str]]:
    """What the runner of the present file is told of earlier ones."""
    epoch = (await talk.row()).epoch
    return await talk.read(lambda conn: store.history(conn, talk.session, before=epoch))


async def test_a_reply_goes_to_the_chat_of_the_last_message_that_it_answers(talk: Talk) -> None:
    desk = talk.desk
    family = await desk.chat("family", "salver", mode="agent-shared")
    work = await desk.chat("work", "salver", mode="agent-shared")
    shared = (await desk.intake(desk.message(channel="fake", address="family"))).sessions[0]
    both = Talk(desk=desk, session=shared)
    await both.write(channel="fake", address="work")
    await both.say(channel="fake", address="family")
    await both.take(*both.scribe.answer("both", 1, 2), *both.scribe.answer("family", 3))
    assert await both.chats() == [work, family]


async def test_what_is_not_due_yet_draws_nothing_into_its_chat(talk: Talk) -> None:
    desk = talk.desk
    family = await desk.chat("family", "salver", mode="agent-shared")
    await desk.chat("work", "salver", mode="agent-shared")
    shared = (await desk.intake(desk.message(channel="fake", address="family"))).sessions[0]
    both = Talk(desk=desk, session=shared)
    await desk.queue(shared)
    await both.write(channel="fake", address="work", due_in=3600)
    await both.write(channel="fake", address="work", when="held")
    await both.take(both.scribe.claim(1), both.scribe.send("for the family's eyes"))
    assert await both.chats() == [family]


async def test_a_thread_is_answered_in_the_thread(talk: Talk) -> None:
    found = await talk.desk.intake(talk.desk.message(thread="dinner"))
    thread = Talk(desk=talk.desk, session=found.sessions[0], messages={1: found.message})
    await talk.desk.queue(thread.session)
    await thread.take(*thread.scribe.answer("soup", 1))
    assert await thread.ask("SELECT thread FROM deliveries WHERE session = ?") == [("dinner",)]


# Reading the same twice


async def test_what_was_read_is_read_once(talk: Talk) -> None:
    rows = talk.scribe.answer("hi", 1)
    before = await talk.row()
    await talk.take(*rows)
    news = await talk.take(*rows, before=before)
    assert (news.rows, len(await talk.told())) == (0, 1)
    assert (await talk.row()).read_seq == len(rows)


async def test_pages_that_overlap_are_read_once(talk: Talk) -> None:
    claim, reply, ack = talk.scribe.answer("hi", 1)
    before = await talk.row()
    await talk.take(claim, reply)
    news = await talk.take(claim, reply, ack, before=before)
    assert (news.rows, await talk.states()) == (1, ["answered"])
    assert (len(await talk.told()), await talk.attempts()) == (1, [1])


async def test_rows_of_a_file_that_was_put_aside_meanwhile_count_for_nothing(talk: Talk) -> None:
    before = await talk.row()
    await talk.desk.database.write(
        lambda conn: store.new_file(conn, talk.session, before.epoch + 1)
    )
    news = await talk.take(*talk.scribe.answer("hi", 1), before=before)
    assert (news.rows, await talk.states(), await talk.told()) == (0, ["queued"], [])
    assert (await talk.row()).read_seq == 0


async def test_a_new_file_is_read_from_its_start(talk: Talk) -> None:
    await talk.take(*talk.scribe.answer("one", 1))
    await talk.say("again")
    await talk.desk.database.write(lambda conn: store.new_file(conn, talk.session, 4711))
    await talk.take(*Scribe().answer("two", 2))
    assert [text for _, text, _ in await talk.told()] == ["one", "two"]


# What only a hostile one writes


@pytest.mark.parametrize("kind", ["claim", "ack"])
async def test_a_command_was_never_handed_over(talk: Talk, kind: str) -> None:
    await talk.write("/help")
    with pytest.raises(Broken, match="message 2 was never handed over"):
        await talk.take(talk.scribe.row(kind, 2, outcome="answered", reason=""))


@dataclass(frozen=True, kw_only=True)
class Case:
    id: str
    kind: str
    message: Any = None
    body: dict[str, Any]
    says: str


HOSTILE = [
    Case(id="unknown-kind", kind="order", body={}, says="row 2 is of an unknown kind"),
    Case(id="claim-of-nothing", kind="claim", body={}, says="names no message"),
    Case(id="claim-of-the-future", kind="claim", message=9, body={}, says="9 was never handed over"),
    Case(id="claim-of-what-is-held", kind="claim", message=2, body={}, says="2 was never handed"),
    Case(id="claim-of-what-is-not-due", kind="claim", message=3, body={}, says="3 was never handed"),
    Case(id="claim-below-zero", kind="claim", message=-1, body={}, says="-1 was never handed"),
    Case(id="claim-of-a-text", kind="claim", message="1", body={}, says="names no message"),
    Case(id="claim-beyond-numbers", kind="claim", message=2**70, body={}, says="never handed over"),
    Case(id="release-of-nothing", kind="release", body={}, says="names no message"),
    Case(id="release-of-the-future", kind="release", message=9, body={}, says="never handed over"),
    Case(id="ack-of-nothing", kind="ack", body={"outcome": "answered", "reason": ""}, says="names no"),
    Case(id="ack-of-what-is-held", kind="ack", message=2, body={"outcome": "answered", "reason": ""}, says="2 was never"),
    Case(id="ack-of-what-is-not-due", kind="ack", message=3, body={"outcome": "answered", "reason": ""}, says="3 was never"),
    Case(id="ack-without-outcome", kind="ack", message=1, body={"reason": ""}, says="unknown outcome"),
    Case(id="ack-of-its-own-making", kind="ack", message=1, body={"outcome": "paid", "reason": ""}, says="unknown outcome"),
    Case(id="ack-with-a-list", kind="ack", message=1, body={"outcome": [], "reason": ""}, says="unknown outcome"),
    Case(id="ack-without-reason", kind="ack", message=1, body={"outcome": "failed"}, says="no text 'reason'"),
    Case(id="ack-with-half-a-reason", kind="ack", message=1, body={"outcome": "failed", "reason": "\ud800"}, says="no text 'reason'"),
    Case(id="reply-without-text", kind="reply", body={"answers": [1]}, says="no text 'text'"),
    Case(id="reply-with-a-number", kind="reply", body={"text": 1, "answers": [1]}, says="no text 'text'"),
    Case(id="reply-with-half-a-text", kind="reply", body={"text": "\udfff", "answers": [1]}, says="no text 'text'"),
    Case(id="reply-without-answers", kind="reply", body={"text": "hi"}, says="no list of numbers 'answers'"),
    Case(id="reply-to-a-number", kind="reply", body={"text": "hi", "answers": 1}, says="no list of numbers"),
    Case(id="reply-to-texts", kind="reply", body={"text": "hi", "answers": ["1"]}, says="no list of numbers"),
    Case(id="reply-to-yes", kind="reply", body={"text": "hi", "answers": [True]}, says="no list of numbers"),
    Case(id="reply-to-the-future", kind="reply", body={"text": "hi", "answers": [1, 9]}, says="9 was never handed over"),
    Case(id="reply-to-what-is-held", kind="reply", body={"text": "hi", "answers": [2]}, says="2 was never handed over"),
    Case(id="reply-beyond-numbers", kind="reply", body={"text": "hi", "answers": [10**30]}, says="never handed over"),
    Case(id="reply-a-million-times", kind="reply", body={"text": "hi", "answers": [1] * 1_000_000}, says="names a message twice"),
    Case(id="send-without-text", kind="send", body={}, says="no text 'text'"),
    Case(id="send-with-a-list", kind="send", body={"text": ["hi"]}, says="no text 'text'"),
    Case(id="send-with-half-a-text", kind="send", body={"text": "a\ud83d"}, says="no text 'text'"),
    Case(id="kept-by-nobody", kind="continuation", body={"messages": []}, says="no text 'provider'"),
    Case(id="kept-by-half-a-name", kind="continuation", body={"provider": "\ud800", "messages": []}, says="no text 'provider'"),
    Case(id="kept-anew-perhaps", kind="continuation", body={"provider": "demo", "messages": [], "reset": 1}, says="no list of messages"),
    Case(id="kept-is-no-list", kind="continuation", body={"provider": "demo", "messages": {}}, says="no list of messages"),
]  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.id)
async def test_a_row_that_is_not_right_is_refused_and_nothing_of_its_page_counts(
    talk: Talk, case: Case
) -> None:
    await talk.write(when="held")
    await talk.write(due_in=3600)
    scribe = talk.scribe
    with pytest.raises(Broken, match=case.says):
        await talk.take(scribe.claim(1), scribe.row(case.kind, case.message, **case.body))
    assert await talk.states() == ["queued", "held", "received"]
    assert (await talk.told(), (await talk.row()).read_seq) == ([], 0)


async def test_a_gap_between_rows_is_refused(talk: Talk) -> None:
    claim = talk.scribe.claim(1)
    with pytest.raises(Broken, match="row 2 is missing"):
        await talk.take(claim, replace(talk.scribe.ack(1), seq=3))
    with pytest.raises(Broken, match="row 1 is missing"):
        await talk.take(replace(claim, seq=2))
    assert await talk.states() == ["queued"]


async def test_a_message_of_another_session_can_not_be_answered(talk: Talk) -> None:
    for number in range(3):
        await talk.say(f"{number}")
    found = await talk.desk.intake(talk.desk.message(thread="dinner"))
    other = Talk(desk=talk.desk, session=found.sessions[0])
    await talk.desk.queue(other.session)
    with pytest.raises(Broken, match="message 2 was never handed over"):
        await other.take(*other.scribe.answer("hi", 2))
    assert set(await talk.states()) == {"queued"}


async def test_what_was_answered_stays_answered(talk: Talk) -> None:
    scribe = talk.scribe
    await talk.take(*scribe.answer("hi", 1))
    await talk.take(scribe.claim(1), scribe.release(1), scribe.ack(1, "failed", "oh"))
    assert await talk.states() == ["answered"]
    assert (await talk.notes(), len(await talk.told())) == ([], 1)


async def test_a_runner_may_be_quicker_than_the_note_that_something_was_handed_over(
    talk: Talk,
) -> None:
    seq = await talk.write("quick")
    await talk.take(*talk.scribe.answer("hi", seq))
    assert await talk.states() == ["queued", "answered"]
    await talk.desk.queue(talk.session)
    assert await talk.states() == ["queued", "answered"]


async def test_a_text_that_is_too_long_is_cut(talk: Talk) -> None:
    await talk.take(talk.scribe.send("x" * (LONGEST_TEXT * 5 + 1)))
    ((_, text, _),) = await talk.told()
    assert (len(text), text[-6:]) == (LONGEST_TEXT * 5 + 4, "xx […]")


async def test_a_reason_that_is_too_long_is_cut(talk: Talk) -> None:
    await talk.take(talk.scribe.claim(1), talk.scribe.ack(1, "failed", "x" * 1_000_000))
    ((_, text, _),) = await talk.told()
    assert len(text) == LONGEST_REASON + 4


async def test_an_acknowledged_order_is_done(talk: Talk) -> None:
    await talk.desk.wake(talk.session)
    await talk.desk.intake.stop(talk.session)
    await talk.desk.queue(talk.session)
    scribe = talk.scribe
    await talk.take(scribe.ack(1, "stopped", "Stopped."), scribe.ack(2, "done"))
    assert await talk.states() == ["stopped", "done"]


async def test_an_order_that_is_said_to_have_failed_is_told_to_nobody(talk: Talk) -> None:
    await talk.desk.wake(talk.session)
    await talk.desk.intake.stop(talk.session)
    await talk.desk.queue(talk.session)
    await talk.take(talk.scribe.ack(2, "failed", "I will not."))
    assert (await talk.told(), await talk.notes()) == ([], [])
