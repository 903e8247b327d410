import os
from importlib import import_module
from pathlib import Path

import pytest

from salver_server.app import Running
from tests.server.cli.conftest import Shell, write

pytestmark = pytest.mark.usefixtures("stopped")

ADA = "---\nname: Ada\nmodel: gpt-9\n---\nCount."


# The house


async def test_the_status_tells_a_person_what_runs(shell: Shell, stopped: Running) -> None:
    rooms = stopped.rooms
    assert (await shell.ok("status")).splitlines() == [
        f"Salver {rooms.version}, process {os.getpid()}, since {rooms.started_at}",
        f"data        {shell.home}",
        f"address     127.0.0.1:{stopped.port}",
        "state       everything is stopped; `salver resume` goes on",
        "sandboxes   0 of at most 8",
        "messages    0 running, 0 waiting",
        "keychain    Your keychain has not been asked yet; the first secret that is used will ask it.",
        "runtime     fake: A fake always works.",
    ]


async def test_the_status_tells_a_program_the_same(shell: Shell) -> None:
    found = (await shell.run("status", "--json")).json
    assert (found["stopped"], found["sandboxes"], found["running"]) == (True, 0, 0)


async def test_everything_is_stopped_and_resumed(shell: Shell, stopped: Running) -> None:
    assert await shell.ok("resume") == "Salver goes on.\n"
    assert not stopped.rooms.keeper.stopped
    assert await shell.ok("stop", "--all") == "Everything is stopped. `salver resume` goes on.\n"
    assert stopped.rooms.keeper.stopped
    assert (await shell.run("resume", "--json")).json == {"stopped": False}
    assert (await shell.run("stop", "--all", "--json")).json == {"stopped": True, "left": 0}


async def test_stopping_everything_has_to_be_said(shell: Shell, stopped: Running) -> None:
    await shell.ok("resume")
    done = await shell.run("stop")
    assert (done.code, done.out) == (2, "")
    assert "Say --all to stop everything." in done.err
    assert not stopped.rooms.keeper.stopped


# Agents


async def test_agents_are_listed_as_a_table(shell: Shell) -> None:
    await shell.ok("agents", "new", "ada", "--file", "-", stdin=ADA)
    assert (await shell.ok("agents", "list")).splitlines() == [
        "name    title   runs with  problem  waits",
        "ada     Ada     demo",
        "salver  Salver  demo",
    ]


async def test_agents_are_listed_as_json(shell: Shell) -> None:
    (found,) = (await shell.run("agents", "list", "--json")).json
    assert found == {
        "name": "salver",
        "title": "Salver",
        "provider": "",
        "model": "",
        "runs_with": "demo",
        "problem": "",
        "warnings": [],
        "waits": "",
    }


READER = "---\nname: Ada\nweb: public\nsites: ['*.example.org']\n---\nRead."


async def test_what_reaches_beyond_the_sandbox_waits_for_a_person(shell: Shell) -> None:
    waits = "web: waits for your consent: `salver agents allow ada`"
    made = await shell.run("agents", "new", "ada", "--file", "-", stdin=READER)
    assert (made.code, made.err) == (0, f"salver: {waits}\n")
    assert waits in await shell.ok("agents", "list")
    assert (await shell.run("agents", "show", "ada")).err == f"salver: {waits}\n"
    assert (await shell.ok("agents", "allow", "ada", "--yes")).splitlines() == [
        "Agent 'ada' asks for this beyond its sandbox:",
        "  web: public",
        "    It may read any page of the public internet.",
        "    It may exchange anything with *.example.org by https.",
        "It is allowed until AGENT.md asks for something else, or `salver agents disallow ada`.",
    ]
    assert await shell.ok("agents", "show", "ada") == READER + "\n"
    assert await shell.ok("agents", "disallow", "ada") == (
        "Agent 'ada' reaches nothing beyond its sandbox.\n"
    )
    found = (await shell.run("agents", "allow", "ada", "--yes", "--json")).json
    assert found["agreed"] is True
    assert (await shell.run("agents", "disallow", "ada", "--json")).json["agreed"] is False


async def test_nothing_is_allowed_unless_a_person_says_so(shell: Shell) -> None:
    await shell.run("agents", "new", "ada", "--file", "-", stdin=READER)
    done = await shell.run("agents", "allow", "ada", stdin="y\n")
    assert (done.code, "Say --yes if you agree" in done.err) == (2, True)
    assert (await shell.run("agents", "show", "ada", "--json")).json["waits"]
    done = await shell.run("agents", "allow", "salver", "--yes")
    assert (done.code, "asks for nothing beyond its sandbox" in done.err) == (2, True)


@pytest.mark.parametrize(("answer", "agreed"), [("y", True), ("n", False), ("", False)])
async def test_a_person_at_a_terminal_is_asked(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool
) -> None:
    await shell.run("agents", "new", "ada", "--file", "-", stdin=READER)
    monkeypatch.setattr(import_module("salver_server.cli.agents"), "on_terminal", lambda: True)
    done = await shell.run("agents", "allow", "ada", stdin=f"{answer}\n")
    assert "Do you agree? [y/N]" in done.out
    assert done.code == (0 if agreed else 2)
    assert (await shell.run("agents", "show", "ada", "--json")).json["waits"] == (
        "" if agreed else "web: waits for your consent: `salver agents allow ada`"
    )


async def test_a_house_without_agents_says_so(shell: Shell) -> None:
    await shell.ok("agents", "remove", "salver")
    assert await shell.ok("agents", "list") == "There is no agent.\n"
    assert (await shell.run("agents", "list", "--json")).json == []


async def test_an_agent_is_made_from_a_template(shell: Shell) -> None:
    assert await shell.ok("agents", "new", "ada") == (
        "Agent 'ada' is there. `salver agents edit ada` changes it.\n"
    )
    assert 'name: "Ada"' in await shell.ok("agents", "show", "ada")


async def test_an_agent_is_made_from_a_file(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "ada.md"
    file.write_text(ADA)
    await shell.ok("agents", "new", "ada", "--file", str(file))
    assert await shell.ok("agents", "show", "ada") == ADA + "\n"


async def test_an_agent_is_changed_from_stdin(shell: Shell) -> None:
    assert await shell.ok("agents", "edit", "salver", "--file", "-", stdin=ADA) == (
        "Agent 'salver' is changed; it counts from the next turn on.\n"
    )
    found = (await shell.run("agents", "show", "salver", "--json")).json
    assert (found["title"], found["text"]) == ("Ada", ADA)


@pytest.mark.parametrize("command", ["new", "edit"])
async def test_what_changes_an_agent_prints_it_as_json(shell: Shell, command: str) -> None:
    name = "ada" if command == "new" else "salver"
    done = await shell.run("agents", command, name, "--file", "-", "--json", stdin=ADA)
    assert (done.json["name"], done.json["text"]) == (name, ADA)


async def test_an_agent_is_changed_in_an_editor(shell: Shell, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "Changed by hand." > "$1"\n')
    editor.chmod(0o755)
    await shell.ok("agents", "edit", "salver", EDITOR=str(editor))
    assert await shell.ok("agents", "show", "salver") == "Changed by hand.\n"


async def test_leaving_the_editor_as_it_was_changes_nothing(shell: Shell) -> None:
    done = await shell.run("agents", "edit", "salver", EDITOR="true")
    assert (done.code, done.out, done.err) == (0, "", "Nothing was changed.\n")


async def test_a_text_that_can_not_be_used_is_refused(shell: Shell) -> None:
    done = await shell.run("agents", "edit", "salver", "--file", "-", stdin="---\ncolour: red\n---")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("salver: AGENT.md, field 'colour': ")


async def test_a_file_that_is_no_text_is_refused(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "ada.md"
    file.write_bytes(b"\xff\xfe")
    done = await shell.run("agents", "new", "ada", "--file", str(file))
    assert done.code == 2
    assert "is no text in UTF-8" in done.err


async def test_a_broken_file_is_shown_with_what_counts_instead(shell: Shell) -> None:
    file = shell.home / "agents" / "salver" / "AGENT.md"
    good = file.read_text()
    file.write_text("---\ncolour: red\n---\n")
    done = await shell.run("agents", "show", "salver")
    assert (done.code, done.out) == (0, good)
    assert done.err.startswith("salver: the file as it lies there is not used. AGENT.md, field 'co")


async def test_a_removed_agent_s_folder_is_named(shell: Shell) -> None:
    out = await shell.ok("agents", "remove", "salver")
    assert out.startswith("Agent 'salver' is removed; its folder is ")
    folder = Path(out.removesuffix(".\n").split(" is ")[-1])
    assert (folder / "AGENT.md").is_file()


async def test_an_agent_that_is_not_there_is_missed(shell: Shell) -> None:
    for command in ("show", "remove", "edit"):
        done = await shell.run("agents", command, "eve")
        assert (done.code, done.out) == (2, "")
        assert done.err == "salver: There is no agent 'eve'. Agents: salver.\n"


# Sessions


async def test_a_list_that_was_cut_says_so(shell: Shell, stopped: Running) -> None:
    await write(stopped)
    done = await shell.run("sessions", "list", "--most", "1")
    assert len(done.out.splitlines()) == 2
    assert done.err == "There may be more; these 1 were active last.\n"


async def test_without_sessions_there_is_a_sentence(shell: Shell) -> None:
    assert await shell.ok("sessions", "list") == "There is no session yet.\n"
    assert (await shell.run("sessions", "list", "--json")).json == []


async def test_sessions_are_listed(shell: Shell, stopped: Running) -> None:
    _, session = await write(stopped)
    title, row = (await shell.ok("sessions", "list")).splitlines()
    assert title.split() == ["id", "agent", "sandbox", "running", "waiting", "active", "at", "trouble"]  # fmt: skip
    assert row.split()[:5] == [session, "salver", "asleep", "0", "1"]
    (found,) = (await shell.run("sessions", "list", "--json")).json
    assert (found["id"], found["waiting"]) == (session, 1)


async def test_a_session_is_shown_in_short_lines(shell: Shell, stopped: Running) -> None:
    _, session = await write(stopped, "a line\nand " + "x" * 100)
    head, message = (await shell.ok("sessions", "show", session)).splitlines()
    assert head == f"{session}  agent salver  sandbox asleep"
    assert message.endswith("a line and " + "x" * 48 + "…")
    found = (await shell.run("sessions", "show", session, "--json")).json
    assert [message["text"] for message in found["messages"]] == ["a line\nand " + "x" * 100]


async def test_a_list_moves_no_cursor(shell: Shell, stopped: Running) -> None:
    _, session = await write(stopped, "\x1b[2Jhello")
    out, _ = await shell.on_terminal("sessions", "show", session)
    assert out.endswith("[2Jhello\n")
    assert "\x1b" not in out


async def test_a_stopped_session_says_so(shell: Shell, stopped: Running) -> None:
    _, session = await write(stopped)
    assert await shell.ok("sessions", "stop", session) == "It is being stopped.\n"
    done = await shell.run("sessions", "stop", session, "--json")
    assert done.json == {"session": session, "stopping": True}
    (message,) = (await shell.run("sessions", "show", session, "--json")).json["messages"]
    assert message["state"] == "stopped"


async def test_a_closed_session_is_listed_only_when_asked_for(
    shell: Shell, stopped: Running
) -> None:
    _, session = await write(stopped)
    assert await shell.ok("sessions", "close", session) == f"Session {session} is closed.\n"
    assert (await shell.run("sessions", "list", "--json")).json == []
    (found,) = (await shell.run("sessions", "list", "--closed", "--json")).json
    assert (found["id"], found["open"]) == (session, False)
    done = await shell.run("sessions", "close", session, "--json")
    assert (done.code, done.err) == (2, f"salver: Session '{session}' is closed already.\n")


async def test_a_session_that_is_not_there_is_missed(shell: Shell) -> None:
    for command in ("show", "stop", "close"):
        done = await shell.run("sessions", command, "ses-x")
        assert (done.code, done.out) == (2, "")
        assert "'ses-x'" in done.err


async def test_what_is_no_text_is_refused_in_words(shell: Shell) -> None:
    for words, stdin in ((["chat", "-"], b"\xff\xfe"), (["chat", "half \udcff"], b"")):
        done = await shell.run(*words, stdin=stdin)
        assert (done.code, done.out) == (2, "")
        assert "is no text in UTF-8" in done.err
    done = await shell.run("sessions", "show", "\udcff")
    assert (done.code, "is no text in UTF-8" in done.err) == (2, True)


# Messages


async def queued(stopped: Running, *texts: str) -> list[str]:
    """Messages that wait for an agent that is busy; their ids."""
    await write(stopped, "now")
    found = [
        await write(stopped, text, key=f"queued-{number}", when="free")
        for number, text in enumerate(texts)
    ]
    return [message for message, _ in found]


async def test_the_queue_is_listed_first(shell: Shell, stopped: Running) -> None:
    assert await shell.ok("messages", "list") == "Nothing waits.\n"
    one, two = await queued(stopped, "one", "two")
    title, *rows = (await shell.ok("messages", "list")).splitlines()
    assert title.split() == ["place", "state", "id", "text"]
    assert [row.split() for row in rows[:2]] == [
        ["1", "held", one, "one"],
        ["2", "held", two, "two"],
    ]
    assert rows[2].endswith("now")
    found = (await shell.run("messages", "list", "--all", "--json")).json
    assert [(it["position"], it["text"]) for it in found] == [(1, "one"), (2, "two"), (None, "now")]


async def test_the_queue_is_changed(shell: Shell, stopped: Running) -> None:
    one, two, three = await queued(stopped, "one", "two", "three")
    assert await shell.ok("messages", "edit", two, "zwei") == "It says that now.\n"
    assert await shell.ok("messages", "move", three, "1") == "It is number 1 now.\n"
    assert await shell.ok("messages", "cancel", one) == "It is cancelled.\n"
    assert await shell.ok("messages", "release", two) == "The agent gets it now.\n"
    found = (await shell.run("messages", "list", "--json")).json
    assert [(it["position"], it["text"]) for it in found] == [
        (1, "three"),
        (None, "now"),
        (None, "zwei"),
    ]
    done = await shell.run("messages", "edit", two, "deux")
    assert (done.code, done.out) == (2, "")
    assert "was handed over already" in done.err


async def test_what_ended_unanswered_is_sent_again(shell: Shell, stopped: Running) -> None:
    message, _ = await write(stopped)
    await shell.ok("messages", "cancel", message)
    found = (await shell.run("messages", "retry", message, "--json")).json
    assert found["id"] != message
    done = await shell.run("messages", "resend", "del-x")
    assert (done.code, done.err) == (2, "salver: There is no delivery 'del-x'.\n")


async def test_a_message_for_later_quotes_an_earlier_one(shell: Shell, stopped: Running) -> None:
    message, _ = await write(stopped, "hello")
    done = await shell.run("chat", "--queue", "--reply-to", "msg-x", "hm")
    assert (done.code, "There is no message or reply 'msg-x'" in done.err) == (2, True)
    assert "/compact" in await shell.ok("chat", "--reply-to", message, "/help")
