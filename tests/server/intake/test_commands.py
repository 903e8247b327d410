from dataclasses import dataclass
from typing import Any

import pytest

from salver_server.errors import Rejected
from salver_server.ids import ChatId, MessageId, SessionId
from salver_server.intake.commands import Command, command, spoken, unspoken
from salver_server.messages import Quoted
from salver_server.sessions import store, views
from tests.server.conftest import Desk


@dataclass(frozen=True, kw_only=True)
class Case:
    text: str
    is_: Command | None


@pytest.mark.parametrize(
    "case",
    [
        Case(text="/clear", is_=Command(word="clear", argument="")),
        Case(text="  /clear \n", is_=Command(word="clear", argument="")),
        Case(text="/model  a/b c ", is_=Command(word="model", argument="a/b c")),
        Case(text="/clearance", is_=None),
        Case(text="/foo", is_=None),
        Case(text="/Clear", is_=None),
        Case(text="//clear", is_=None),
        Case(text="please /clear", is_=None),
        Case(text="/clear\nand more", is_=None),
        Case(text="/", is_=None),
    ],
    ids=lambda case: repr(case.text),
)
def test_a_command_is_one_line_that_begins_with_its_word(case: Case) -> None:
    assert command(case.text) == case.is_


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("//clear", "/clear"),
        ("///clear", "//clear"),
        ("//model x", "/model x"),
        ("// a comment", "// a comment"),
        ("//foo", "//foo"),
        ("//clear\nx", "//clear\nx"),
    ],
)
def test_one_slash_more_makes_a_message_of_a_command(written: str, read: str) -> None:
    assert spoken(written) == read
    assert spoken(unspoken(read)) == read


async def ask(desk: Desk, text: str) -> str:
    """The answer to a command."""
    return await answer(desk, (await desk.intake(desk.message(text))).message)


async def answer(desk: Desk, message: MessageId) -> str:
    return await desk.database.read(lambda conn: views.reply(conn, message))


async def kinds(desk: Desk, session: SessionId) -> list[tuple[str, str]]:
    """Kind and state of everything in a session, in order."""
    return await desk.database.read(
        lambda conn: conn.execute(
            "SELECT i.kind, h.state FROM handovers h JOIN intake i ON i.id = h.message"
            " WHERE h.session = ? ORDER BY h.seq",
            (session,),
        ).fetchall()
    )


async def busy(desk: Desk) -> SessionId:
    """A session whose runner works on its only message."""
    found = await desk.intake(desk.message())
    (session,) = found.sessions
    await desk.queue(session)
    await desk.wake(session)
    now = desk.clock.stamp()
    await desk.database.write(lambda conn: store.claim(conn, session, 1, turn=1, now=now))
    return session


async def test_a_command_is_accepted_and_answered_and_never_handed_over(desk: Desk) -> None:
    session = await busy(desk)
    found = await desk.intake(desk.message("/help", key="7"))
    assert found.sessions == (session,)
    assert await desk.states(session) == ["running", "answered"]
    assert len(desk.owed) == 1
    assert await desk.database.read(lambda conn: store.due(conn, session, desk.clock.stamp())) == []
    handed = await desk.database.read(lambda conn: store.handed_over(conn, session))
    assert [row.text for row in handed] == ["hello"]


async def test_a_command_that_is_offered_again_is_obeyed_once(desk: Desk) -> None:
    session = await busy(desk)
    one, two = [await desk.intake(desk.message("/clear", key="7")) for _ in range(2)]
    assert (two.message, two.again) == (one.message, True)
    assert [kind for kind, _ in await kinds(desk, session)] == ["message", "clear", "message"]


async def test_help_tells_the_commands_and_how_it_stands(desk: Desk) -> None:
    await busy(desk)
    await desk.intake(desk.message("next", when="free"))
    said = await ask(desk, "/help")
    for word in ("/help", "/stop", "/model", "/clear", "/compact"):
        assert f"\n{word} " in said
    assert said.endswith("Model: demo.\nMessages: 1 running, 0 waiting, 1 in the queue.")


async def test_who_is_obeyed_without_an_agent_s_chat_is_answered_in_each_session(
    desk: Desk,
) -> None:
    await desk.agent("ada")
    chat: ChatId = await desk.chat("family", "salver", "ada")
    found = await desk.intake(desk.message("/clear", channel="fake", address="family"))
    assert len(found.sessions) == 2
    assert set(desk.owed) == {chat}
    for session in found.sessions:
        assert await kinds(desk, session) == [("clear", "received"), ("message", "answered")]


# Stop


async def test_a_stop_says_what_it_stops(desk: Desk) -> None:
    session = await busy(desk)
    await desk.intake(desk.message("and?"))
    await desk.intake(desk.message("next", when="free"))
    assert await ask(desk, "/stop") == (
        "Stopping: messages 1 running and 1 waiting. The queue goes on with its first message."
    )
    assert ("stop", "received") in await kinds(desk, session)


async def test_a_stop_of_nothing_says_so(desk: Desk) -> None:
    assert await ask(desk, "/stop") == "Nothing runs that could be stopped."


# Model


async def model(desk: Desk, session: SessionId) -> str:
    return (await desk.session(session)).model


async def test_the_model_is_shown_chosen_and_given_back(desk: Desk) -> None:
    session = await busy(desk)
    assert (await ask(desk, "/model")).startswith("Model: demo. `/model NAME` chooses")
    assert await ask(desk, "/model a/b") == "Model: a/b, from the next turn on."
    assert await model(desk, session) == "a/b"
    assert (await ask(desk, "/model")).startswith(
        "Model: a/b, chosen for this conversation; AGENT.md says demo."
    )
    assert await ask(desk, "/model default") == (
        "Model: demo, as AGENT.md says, from the next turn on."
    )
    assert await model(desk, session) == ""


async def test_a_model_that_may_not_be_chosen_is_refused_in_the_answer(desk: Desk) -> None:
    session = await busy(desk)
    assert await ask(desk, "/model nobody-has-it") == "There is no such model."
    assert await model(desk, session) == ""


# The memory


async def test_a_clear_comes_after_what_was_said_before_it(desk: Desk) -> None:
    session = await busy(desk)
    assert await ask(desk, "/clear") == (
        "Cleared: what was said before is still answered, the next message starts afresh."
    )
    await desk.intake(desk.message("and now?"))
    found = await desk.database.read(lambda conn: store.due(conn, session, desk.clock.stamp()))
    assert [(row.kind, row.wakes) for row in found] == [("clear", False), ("message", True)]


async def test_an_order_about_the_memory_wakes_nobody(desk: Desk) -> None:
    await ask(desk, "/clear")
    said = await ask(desk, "/compact")
    assert said == "I will compact the conversation before the next turn."
    (session,) = set(desk.told)
    await desk.queue(session)
    assert await desk.database.read(store.sessions_pending) == []


async def test_a_compact_says_when(desk: Desk) -> None:
    session = await busy(desk)
    assert await ask(desk, "/compact") == "I will compact the conversation after this turn."
    now = desk.clock.stamp()
    await desk.database.write(
        lambda conn: store.settle(conn, session, 1, state="answered", reason="", now=now)
    )
    assert await ask(desk, "/compact") == "I am compacting the conversation."


async def test_without_a_runner_a_stop_ends_a_compaction_and_leaves_a_clear(desk: Desk) -> None:
    await ask(desk, "/compact")
    await ask(desk, "/clear")
    (session,) = set(desk.told)
    await desk.intake.stop(session)
    orders = [one for one in await kinds(desk, session) if one[0] != "message"]
    assert orders == [("compact", "stopped"), ("clear", "received")]


# What is none


async def test_what_stands_alone_takes_no_argument(desk: Desk) -> None:
    session = await busy(desk)
    said = await ask(desk, "/clear the table")
    assert said.endswith("nothing was done. With two slashes the agent reads it: //clear the table")
    assert [kind for kind, _ in await kinds(desk, session)] == ["message", "message"]


@pytest.mark.parametrize("about", [{"due_in": 60}, {"when": "free"}, {"when": "held"}])
async def test_a_command_does_not_wait(desk: Desk, about: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match="A command is obeyed at once"):
        await desk.intake(desk.message("/clear", **about))


async def test_a_command_with_one_slash_more_is_for_the_agent_also_when_it_is_tried_again(
    desk: Desk,
) -> None:
    found = await desk.intake(desk.message("//clear", quoted=Quoted(sender="ann", text="hm")))
    await desk.intake.cancel(found.message)
    again = await desk.intake.retry(found.message)
    rows = await desk.database.read(
        lambda conn: store.due(conn, again.sessions[0], desk.clock.stamp())
    )
    assert [(row.text, row.quoted) for row in rows] == [
        ("/clear", '{"sender": "ann", "text": "hm"}')
    ]
