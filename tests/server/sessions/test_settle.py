"""What the end of a sandbox means for its messages: decided by `burial.settle`."""

from dataclasses import dataclass, replace

import pytest

from salver_server.ids import ChatId
from salver_server.runtimes import Exit
from salver_server.sessions import store
from salver_server.sessions.burial import MOST_ATTEMPTS, End, settle
from tests.server.sessions.conftest import Scribe, Talk

KILLED = Exit(cause="killed", code=-9, detail="Somebody killed it.")
LEFT = Exit(cause="ended", code=0, detail="It ended with 0.")
CRASHED = Exit(cause="ended", code=1, detail="It ended with 1.")


async def die(
    talk: Talk,
    exit_: Exit = CRASHED,
    *,
    blameless: bool = False,
    stalled: bool = False,
    verdict: str = "",
) -> set[ChatId]:
    """The sandbox ends so; returns the chats in which somebody is told of it."""
    end = End(
        session=await talk.row(),
        runtime="fake",
        exit=exit_,
        blameless=blameless,
        stalled=stalled,
        verdict=verdict,
    )
    now = talk.desk.clock.stamp()
    return await talk.desk.database.write(lambda conn: settle(conn, end, now))


async def wake(talk: Talk, *seqs: int) -> None:
    """The next sandbox; its runner claims these."""
    await talk.desk.wake(talk.session)
    if seqs:
        await talk.take(*(talk.scribe.claim(seq) for seq in seqs))


async def test_what_was_cut_off_waits_again_and_its_attempt_counts(talk: Talk) -> None:
    await wake(talk, 1)
    assert await die(talk) == set()
    assert (await talk.states(), await talk.attempts()) == (["queued"], [1])


async def test_a_buried_sandbox_is_forgotten(talk: Talk) -> None:
    await wake(talk, 1)
    await die(talk)
    assert await talk.read(store.sandboxes) == []


async def test_what_we_end_for_reasons_of_our_own_is_no_message_s_fault(talk: Talk) -> None:
    for _ in range(MOST_ATTEMPTS + 1):
        await wake(talk, 1)
        assert await die(talk, KILLED, blameless=True) == set()
    assert (await talk.states(), await talk.attempts()) == (["queued"], [0])


async def test_a_message_that_always_ends_its_sandbox_fails_alone(talk: Talk) -> None:
    await talk.say("harmless")
    told: list[set[ChatId]] = []
    for _ in range(MOST_ATTEMPTS):
        await wake(talk, 1)
        told.append(await die(talk, verdict="It needed more than 64 MB."))
    assert told == [set(), set(), set(await talk.chats())]
    assert (await talk.states())[:2] == ["failed", "queued"]
    assert (await talk.attempts())[:2] == [MOST_ATTEMPTS, 0]


async def test_its_end_is_told_to_the_person_and_to_the_agent(talk: Talk) -> None:
    for _ in range(MOST_ATTEMPTS):
        await wake(talk, 1)
        await die(talk, verdict="It needed more than 64 MB.")
    ((kind, text, answers),) = await talk.told()
    assert (kind, answers) == ("failure", [1])
    assert text == (
        "The sandbox ended 3 times while it worked on this message; it is not tried again. "
        "The last time: It needed more than 64 MB. Send it again, perhaps in other words."
    )
    assert await talk.notes() == [f"Message 1 could not be answered. {text}"]


async def test_without_a_verdict_of_ours_the_runtime_s_words_are_told(talk: Talk) -> None:
    for _ in range(MOST_ATTEMPTS):
        await wake(talk, 1)
        await die(talk)
    ((_, text, _),) = await talk.told()
    assert "The last time: It ended with 1. Send" in text


async def test_a_sandbox_that_showed_no_progress_gets_one_more_try(talk: Talk) -> None:
    await wake(talk, 1)
    await die(talk, KILLED, stalled=True, verdict="It showed no progress.")
    assert await talk.attempts() == [MOST_ATTEMPTS - 1]
    await wake(talk, 1)
    await die(talk, KILLED, stalled=True, verdict="It showed no progress.")
    assert (await talk.states())[0] == "failed"


@dataclass(frozen=True, kw_only=True)
class DeadStart:
    id: str
    exit: Exit
    attempts: int


@pytest.mark.parametrize(
    "case",
    [
        DeadStart(id="crashed", exit=CRASHED, attempts=1),
        DeadStart(id="killed-from-outside", exit=KILLED, attempts=1),
        DeadStart(id="lost", exit=replace(KILLED, cause="lost", code=None), attempts=1),
        DeadStart(id="left-in-order", exit=LEFT, attempts=0),
    ],
    ids=lambda case: case.id,
)
async def test_a_start_that_dies_counts_against_the_message_it_was_made_for(
    talk: Talk, case: DeadStart
) -> None:
    await talk.say("and?")
    await wake(talk)
    await die(talk, case.exit)
    assert await talk.attempts() == [case.attempts, 0]


async def test_starts_that_always_die_fail_one_message_after_the_other(talk: Talk) -> None:
    await talk.say("and?")
    for _ in range(2 * MOST_ATTEMPTS):
        await wake(talk)
        await die(talk)
    assert (await talk.states())[:2] == ["failed", "failed"]
    assert [answers for _, _, answers in await talk.told()] == [[1], [2]]


async def test_a_note_is_not_blamed_for_a_start_that_died(talk: Talk) -> None:
    now = talk.desk.clock.stamp()
    await talk.take(*talk.scribe.answer("hi", 1))
    await talk.desk.database.write(lambda conn: store.note(conn, talk.session, "by the way", now))
    await talk.say("and?")
    await wake(talk)
    await die(talk)
    assert await talk.attempts() == [1, 0, 1]


async def test_a_note_that_had_its_attempts_ends_in_silence(talk: Talk) -> None:
    now = talk.desk.clock.stamp()
    await talk.desk.database.write(lambda conn: store.note(conn, talk.session, "by the way", now))
    await talk.desk.queue(talk.session)
    for _ in range(MOST_ATTEMPTS):
        await wake(talk, 1, 2)
        await die(talk)
    assert (await talk.states())[:2] == ["failed", "failed"]
    assert [answers for _, _, answers in await talk.told()] == [[1]]
    assert len(await talk.notes()) == 2  # itself, and the one about the message


async def test_a_compaction_that_always_ends_its_sandbox_is_given_up(talk: Talk) -> None:
    await talk.take(*talk.scribe.answer("hi", 1))
    await talk.write("/compact")
    await talk.desk.queue(talk.session)
    told: list[set[ChatId]] = []
    for _ in range(MOST_ATTEMPTS):
        await wake(talk, 2)
        told.append(await die(talk, verdict="It needed more than 64 MB."))
    assert told == [set(), set(), {(await talk.chats())[0]}]
    assert (await talk.states())[1] == "failed"
    ((kind, text),) = await talk.ask(
        "SELECT kind, text FROM deliveries WHERE session = ? ORDER BY position DESC LIMIT 1"
    )
    assert kind == "send"
    assert text == (
        "The sandbox ended 3 times while it compacted the conversation; it stays as it is."
        " `/clear` starts afresh. The last time: It needed more than 64 MB."
    )


async def test_what_was_answered_before_the_end_stays_answered(talk: Talk) -> None:
    await talk.say("and?")
    await wake(talk)
    await talk.take(*talk.scribe.answer("hi", 1), talk.scribe.claim(2))
    await die(talk)
    assert await talk.states() == ["answered", "queued"]
    assert await talk.attempts() == [1, 1]


async def test_a_message_fails_although_its_file_was_put_aside(talk: Talk) -> None:
    for epoch in range(MOST_ATTEMPTS):
        await wake(talk, 1)
        await talk.desk.database.write(
            lambda conn, epoch=epoch: store.new_file(conn, talk.session, epoch + 1)
        )
        talk.scribe = Scribe()
        await die(talk)
    assert (await talk.states())[0] == "failed"
    assert [kind for kind, _, _ in await talk.told()] == ["failure"]
