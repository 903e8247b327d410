"""The command line as a person meets it: at a terminal, in a pipe, and when something goes wrong."""

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Generator

import psutil
import pytest

from tests.crash.harness import House
from tests.journeys import inside
from tests.journeys.talk import Talk
from tests.journeys.terminal import SALVER, environment, salver, terminal
from tests.journeys.waiting import in_time, until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

ENDED = 3.0
"""Seconds that an orderly end of the server may take."""
STOPPED = 2.0
"""The same for stopping everything."""


def test_at_a_terminal_the_reply_streams_and_tool_calls_are_shown(house: House) -> None:
    with terminal(
        house, "chat", "!say It begins.\n!shell echo inside\n!slow 1\n!say It ends."
    ) as screen:
        screen.shows("It begins.")
        assert "It ends." not in screen.shows("· shell echo inside")
        [message] = house.ask("GET", f"/sessions/{only_session(house)}")["messages"]
        assert message["state"] == "running"
        assert screen.ends() == 0
    assert screen.shown.count("It begins.") == screen.shown.count("It ends.") == 1


def only_session(home: House) -> str:
    [session] = home.ask("GET", "/sessions")
    return session["id"]


def test_a_reply_that_comes_at_once_is_shown_once(house: House) -> None:
    """A warm runner is quicker than the command line, which only then begins to listen."""
    Talk(home=house).ask()
    for number in range(3):
        with terminal(
            house, "chat", f"!say First {number}.\n!slow 0.2\n!say Last {number}."
        ) as screen:
            assert screen.ends() == 0
        assert screen.shown.count(f"First {number}.") == screen.shown.count(f"Last {number}.") == 1


def test_in_a_pipe_only_the_final_reply_is_printed(house: House) -> None:
    said = salver(house, "chat", "!say It begins.\n!shell true\n!say It ends.")
    assert said.code == 0
    assert said.out == "It begins.\n$ true\n(no output)\nIt ends.\n"
    assert said.err == ""


def test_a_dash_reads_the_message_from_stdin(house: House) -> None:
    said = salver(house, "chat", "-", stdin="!say One line\n!say and another.\n")
    assert (said.code, said.out) == (0, "One line\nand another.\n")


def test_json_gives_an_event_a_line_and_the_reply_last(house: House) -> None:
    said = salver(house, "chat", "!slow 0.2\n!say Hello.", "--json")
    events = [json.loads(line) for line in said.out.splitlines()]
    assert said.code == 0
    assert {"state", "text", "delivery", "end"} == {one["event"] for one in events}
    assert [one["event"] for one in events].index("end") == len(events) - 1
    assert events[-1] == {"event": "end", "state": "delivered", "reason": "", "reply": "..\nHello."}


def test_the_main_session_goes_on_and_a_new_one_is_new(house: House) -> None:
    salver(house, "chat", "!remember The owl is old.")
    assert "The owl is old." in salver(house, "chat", "!recall").out
    main = only_session(house)
    assert "I remember nothing yet." in salver(house, "chat", "--new", "!recall").out
    assert "The owl is old." in salver(house, "chat", "--session", main, "!recall").out


def test_exit_codes_tell_what_went_wrong(house: House) -> None:
    failed = salver(house, "chat", "!fail The coffee is out.")
    assert (failed.code, failed.out) == (1, "")
    assert failed.err == "salver: failed: The coffee is out.\n"

    for words, why in {
        ("chat", "Hello?", "--agent", "nobody"): "There is no agent 'nobody'",
        ("chat", "   "): "The message is empty",
        ("chat", "Hello?", "--session", "ses-none"): "There is no open session 'ses-none'",
        ("sessions", "show", "ses-none"): "There is no session 'ses-none'",
        ("sessions", "close", "ses-none"): "There is no session 'ses-none'",
        ("agents", "show", "nobody"): "There is no agent 'nobody'",
        ("agents", "new", "Not A Name"): "cannot be an agent's name",
        ("stop",): "Say --all",
        ("no-such-command",): "No such command",
    }.items():
        refused = salver(house, *words)
        assert (refused.code, refused.out) == (2, ""), words
        assert why in refused.err

    assert house.end() == 0
    for words in (("chat", "Hello?"), ("status",), ("sessions", "list"), ("stop", "--all")):
        alone = salver(house, *words)
        assert (alone.code, alone.out) == (3, "")
        assert (
            alone.err
            == f"salver: No Salver is running on {house.home}. Start it with `salver serve`.\n"
        )


def test_a_second_server_is_refused_and_told_where_the_first_one_is(house: House) -> None:
    second = salver(house, "serve")
    port = house.ask("GET", "/status")["port"]
    assert (second.code, second.out) == (2, "")
    assert f"process {house.pid}, address 127.0.0.1:{port}" in second.err
    Talk(home=house).ask()


def test_status_and_sessions_show_what_goes_on(house: House) -> None:
    assert salver(house, "sessions", "list").out == "There is no session yet.\n"
    talk = Talk(home=house)
    sent = talk.running(talk.say("!slow 20", ends=("cancelled",)))
    waiting = talk.say("Are you there?", ends=("cancelled",))

    status = salver(house, "status")
    assert f"process {house.pid}" in status.out
    assert re.search(r"sandboxes +1 of at most 8\nmessages +1 running, 1 waiting\n", status.out)
    assert json.loads(salver(house, "status", "--json").out)["running"] == 1

    assert re.search(rf"{talk.session} +salver +live +1 +1", salver(house, "sessions", "list").out)
    shown = salver(house, "sessions", "show", talk.session).out
    assert re.search(r"running +!slow 20", shown)
    assert re.search(r"queued +Are you there\?", shown)

    assert salver(house, "sessions", "close", talk.session).code == 0
    until(lambda: not inside.init(talk.session))
    assert [house.ask_after(one)["state"] for one in (sent, waiting)] == ["cancelled", "cancelled"]
    assert salver(house, "sessions", "close", talk.session).code == 2
    assert talk.session in salver(house, "sessions", "list", "--closed").out


def test_stopping_a_session_leaves_its_runner_for_the_next_message(house: House) -> None:
    talk = Talk(home=house)
    sent = talk.running(talk.say("!slow 20", ends=("stopped",)))
    assert salver(house, "sessions", "stop", talk.session).code == 0
    assert talk.end(sent)["state"] == "stopped"
    talk.ask()
    assert talk.look()["generation"] == 1


def test_stopping_everything_keeps_the_queue_until_it_goes_on(house: House) -> None:
    talks = [Talk(home=house) for _ in range(3)]
    at_work = [
        talk.running(talk.say(f"!shell test -e {number} || {{ touch {number}; sleep 1005; }}"))
        for number, talk in enumerate(talks)
    ]
    until(lambda: all("sleep 1005" in inside.commands(talk.session) for talk in talks))
    began = time.monotonic()
    stopped = salver(house, "stop", "--all")
    assert stopped.code == 0
    assert house.sandboxes() == []
    assert time.monotonic() - began < in_time(STOPPED)

    later = talks[0].say()
    fresh = Talk(home=house)
    alone = fresh.say()
    assert "everything is stopped" in salver(house, "status").out
    with terminal(house, "chat", "Hello?") as screen:
        screen.shows("it waits: Everything is stopped. `salver resume` goes on.")
        screen.interrupt()
        assert screen.ends() == 130

    assert house.end() == 0
    house.start()
    assert "everything is stopped" in salver(house, "status").out
    assert {house.ask_after(one)["state"] for one in (*at_work, later, alone)} == {"queued"}
    assert house.sandboxes() == []

    assert salver(house, "resume").code == 0
    house.settle()
    house.verify()
    assert [house.ask_after(one)["attempts"] for one in at_work] == [1, 1, 1]


def test_an_orderly_end_is_quick_and_leaves_no_process(house: House) -> None:
    talk = Talk(home=house)
    sent = talk.running(
        talk.say("!shell test -e seen || { touch seen; setsid sleep 1006 & sleep 1007; }")
    )
    until(lambda: {"sleep 1006", "sleep 1007"} <= set(inside.commands(talk.session)))
    everything = [
        *psutil.Process(house.pid).children(recursive=True),
        *inside.everyone(talk.session),
    ]

    began = time.monotonic()
    assert house.end() == 0
    assert time.monotonic() - began < in_time(ENDED)
    assert inside.alive(everything) == []
    assert not (house.home / "run" / "port").exists()

    house.start()
    talk.reply(sent)
    house.verify()
    assert house.ask_after(sent)["attempts"] == 1


def test_leaving_a_chat_leaves_the_message_alive(house: House) -> None:
    with terminal(house, "chat", "!say It begins.\n!slow 0.7\n!say It ends.") as screen:
        screen.shows("It begins.")
        screen.interrupt()
        assert screen.ends() == 130
    session = only_session(house)
    assert (
        f"Left; the message is still answered. `salver sessions show {session}` shows it."
        in screen.shown
    )
    until(lambda: "It ends." in salver(house, "sessions", "show", session).out)


def test_a_chat_outlives_a_restart_of_the_server_and_prints_the_reply_once(house: House) -> None:
    with (
        piped(house, "!say It begins.\n!slow 1.5\n!say It ends.") as pipe,
        terminal(house, "chat", "--new", "!say It starts.\n!slow 1.5\n!say It is over.") as screen,
    ):
        screen.shows("It starts.")
        until(lambda: house.ask("GET", "/status")["running"] == 2)
        house.kill()
        house.start()
        out, err = pipe.communicate(timeout=20)
        assert screen.ends() == 0
    assert (pipe.returncode, err) == (0, "")
    assert out.startswith("It begins.\n")
    assert out.count("It begins.") == out.count("It ends.") == 1
    _, after = screen.shown.split("· the connection was cut")
    assert after.count("It starts.") == after.count("It is over.") == 1


@contextlib.contextmanager
def piped(home: House, text: str) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [SALVER, "chat", text],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()
