"""Whose sessions there are: threads of their own or a shared one, several agents, agents that change."""

import contextlib
import sqlite3

import pytest

from tests.crash.harness import House
from tests.journeys import inside
from tests.journeys.conftest import Build, write_agent
from tests.journeys.providers import DEMO, Model
from tests.journeys.talk import Talk
from tests.journeys.terminal import salver
from tests.journeys.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

OTHER = DEMO.agent("You are the other one.")


def test_two_threads_have_a_session_a_sandbox_and_a_memory_each(house: House) -> None:
    one, other = Talk(home=house), Talk(home=house)
    one.ask("!remember The fox is red.")
    other.ask("!remember The bear is brown.")
    assert one.session != other.session
    assert inside.init(one.session) != inside.init(other.session) != 0
    assert (recalled(one), recalled(other)) == ("The fox is red.", "The bear is brown.")


def recalled(talk: Talk) -> str:
    return talk.ask("!recall").splitlines()[0]


def test_the_threads_of_a_shared_chat_are_one_conversation(house: House) -> None:
    Talk(home=house).ask()
    share(house)
    one, other = Talk(home=house), Talk(home=house)
    one.ask("!remember The fox is red.")
    assert "The fox is red." in other.ask("!recall")
    assert one.session == other.session


def share(home: House) -> None:
    """Wire the chat so that its threads share a session, which no command can do yet."""
    with contextlib.closing(sqlite3.connect(home.home / "salver.db", timeout=10)) as conn, conn:
        conn.execute("UPDATE wirings SET mode = 'shared'")


def test_two_agents_know_nothing_of_each_other(house: House) -> None:
    assert salver(house, "agents", "new", "other").code == 0
    first, other = Talk(home=house), Talk(home=house, agent="other")
    first.ask("!remember The fox is red.")
    first.ask("!shell echo mine >only-here")
    assert recalled(other) == "I remember nothing yet."
    assert other.run("ls -A") == []
    assert first.run("ls -A") == ["only-here"]


def test_an_agent_whose_file_is_put_there_by_hand_can_be_talked_to_at_once(house: House) -> None:
    write_agent(house, "other", OTHER)
    talk = Talk(home=house, agent="other")
    sent = talk.say()
    assert sent.token in talk.reply(sent)


def test_an_edited_agent_meets_the_next_message_as_it_is_now(build: Build, model: Model) -> None:
    home = build(model.provider)
    write_agent(home, "salver", DEMO.agent())
    home.start()
    talk = Talk(home=home)
    talk.ask("!say By the demo provider.")
    until(lambda: talk.look()["sandbox"] == "live")

    write_agent(home, "salver", model.provider.agent("You are the captain of the Nautilus."))
    talk.ask("Who are you?")
    assert len(model.requests("captain of the Nautilus")) == 1

    write_agent(home, "salver", model.provider.agent("You are the cook of the Nautilus."))
    talk.ask("And now?")
    assert len(model.requests("cook of the Nautilus")) == 1
    home.verify()


def test_an_edit_meets_the_message_that_follows_it_by_command(house: House) -> None:
    talk = Talk(home=house)
    talk.ask()
    assert salver(house, "agents", "edit", "salver", "--file", "-", stdin=OTHER).code == 0
    talk.ask()
    assert talk.look()["generation"] == 2


def test_a_turn_at_work_is_not_disturbed_by_an_edit(house: House) -> None:
    talk = Talk(home=house)
    sent = talk.running(talk.say("!slow 0.5"))
    write_agent(house, "salver", OTHER)
    follow_up = talk.say()
    talk.reply(follow_up)
    talk.ask()
    house.verify()
    assert house.ask_after(sent)["attempts"] == 1
    assert talk.look()["generation"] == 2


def test_an_invalid_edit_leaves_the_last_good_version_and_says_why(house: House) -> None:
    talk = Talk(home=house)
    talk.ask()
    write_agent(house, "salver", "---\nprovider: [demo\n---\nBroken.\n")
    talk.ask()
    listed = salver(house, "agents", "list")
    assert listed.code == 0
    assert "AGENT.md, line 2" in listed.out

    house.kill_sandboxes()
    house.kill()
    house.start()
    talk.ask()
    assert "AGENT.md, line 2" in salver(house, "agents", "list").out
    house.verify()

    write_agent(house, "salver", DEMO.agent())
    assert "line" not in salver(house, "agents", "list").out


def test_a_removed_agent_answers_nobody_and_leaves_its_folder(house: House) -> None:
    assert salver(house, "agents", "new", "other").code == 0
    talk = Talk(home=house, agent="other")
    talk.ask("!shell echo kept >diary")
    removed = salver(house, "agents", "remove", "other")
    assert removed.code == 0
    until(lambda: not inside.init(talk.session))
    [diary] = (house.home / "agents").glob(".removed/other-*/work/diary")
    assert str(diary.parent.parent) in removed.out

    refused = salver(house, "chat", "Hello?", "--agent", "other")
    assert (refused.code, refused.out) == (2, "")
    assert "There is no agent 'other'" in refused.err
    assert talk.session in salver(house, "sessions", "list", "--closed").out
    assert talk.session not in salver(house, "sessions", "list").out
    Talk(home=house).ask()


def test_an_edit_made_while_no_server_ran_counts_for_a_runner_that_went_on(house: House) -> None:
    talk = Talk(home=house)
    talk.ask()
    house.kill()
    write_agent(house, "salver", OTHER)
    house.start()
    talk.ask()
    assert talk.look()["generation"] == 2
    house.verify()
