import time
from pathlib import Path
from typing import Any

import pytest

from tests.server.cli.conftest import Rude, Shell, hanging_up, saying, telling

ACCEPTED = {"id": "msg-1", "session": "ses-1", "again": False}
QUEUED = {"event": "state", "state": "queued", "reason": "", "trouble": ""}
SENT: dict[str, Any] = {
    "event": "delivery",
    "delivery": {"id": "del-1", "kind": "send", "text": "wait", "files": []},
}
END = {"event": "end", "state": "delivered", "reason": "", "reply": "hi"}


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the command line made, none of which took any time."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


# With a real server and a real runner


@pytest.mark.usefixtures("house")
async def test_the_reply_is_printed_and_nothing_else(shell: Shell) -> None:
    assert await shell.ok("chat", "!say hi") == "hi\n"


@pytest.mark.usefixtures("house")
async def test_a_dash_reads_the_message_from_stdin(shell: Shell) -> None:
    assert await shell.ok("chat", "-", stdin="!say one\n!say two\n") == "one\ntwo\n"


@pytest.mark.usefixtures("house")
async def test_what_is_sent_before_the_end_is_printed_too(shell: Shell) -> None:
    assert await shell.ok("chat", "!send wait\n!say hi") == "wait\nhi\n"


@pytest.mark.usefixtures("house")
async def test_with_json_each_event_is_a_line_and_the_last_is_the_end(shell: Shell) -> None:
    done = await shell.run("chat", "--json", "!say hi")
    assert (done.code, done.err) == (0, "")
    assert done.lines[-1] == {"event": "end", "state": "delivered", "reason": "", "reply": "hi"}
    assert {event["event"] for event in done.lines} <= {"state", "text", "tool", "output", "tool-end", "delivery", "end"}  # fmt: skip


@pytest.mark.usefixtures("house")
async def test_a_turn_that_failed_ends_with_its_reason_and_code_1(shell: Shell) -> None:
    done = await shell.run("chat", "!fail The model is gone.")
    assert (done.code, done.out) == (1, "")
    assert done.err == "salver: failed: The model is gone.\n"


@pytest.mark.usefixtures("house")
async def test_a_conversation_goes_on_in_the_session_that_is_named(shell: Shell) -> None:
    await shell.ok("chat", "--new", "!remember blue")
    (session,) = (await shell.run("sessions", "list", "--json")).json
    assert await shell.ok("chat", "--session", session["id"], "!recall") == "blue\n"
    assert await shell.ok("chat", "!recall") == "I remember nothing yet.\n"


@pytest.mark.usefixtures("stopped")
async def test_a_message_that_can_not_be_accepted_is_the_caller_s_mistake(shell: Shell) -> None:
    for words in (("",), ("--agent", "eve", "hi"), ("--session", "ses-x", "hi")):
        done = await shell.run("chat", *words)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("salver: The")


@pytest.mark.usefixtures("house")
async def test_on_a_terminal_the_reply_streams_and_tools_are_shown(shell: Shell) -> None:
    out, err = await shell.on_terminal("chat", "!say one\n!shell echo two\n!say three")
    assert [line for line in out.splitlines() if line] == ["one", "$ echo two", "two", "three"]
    assert "· shell" in err


async def test_on_a_terminal_an_agent_moves_no_cursor_and_sets_no_clipboard(
    shell: Shell, rude: Rude
) -> None:
    evil = "\x1b]52;c;aGk=\x07\x9b2J\rfine\ttext\n"
    rude.answers = [
        saying(ACCEPTED, status=202),
        telling(
            {**QUEUED, "trouble": evil},
            {"event": "text", "text": evil},
            {"event": "tool", "text": evil},
            {**SENT, "delivery": {**SENT["delivery"], "text": evil}},
            {**END, "state": "failed", "reply": evil + "!", "reason": evil},
        ),
    ]
    out, err = await shell.on_terminal("chat", "hello")
    assert out.count("fine\ttext") == 3
    for text in (out, err.replace("\x1b[2m", "").replace("\x1b[0m", "")):
        assert not {"\x1b", "\x07", "\x9b", "\r"} & set(text)


# With a server that goes away


async def test_a_cut_stream_is_taken_up_again_and_nothing_is_printed_twice(
    shell: Shell, rude: Rude, slept: list[float]
) -> None:
    rude.answers = [
        saying(ACCEPTED, status=202),
        telling(QUEUED, SENT, cut=True),
        telling(QUEUED, SENT, END),
    ]
    done = await shell.run("chat", "hello")
    assert (done.code, done.out) == (0, "wait\nhi\n")
    assert rude.asked == ["POST /messages", *["GET /messages/msg-1/events"] * 2]
    assert len(slept) == 2


async def test_a_stream_that_ends_without_an_end_is_taken_up_again(
    shell: Shell, rude: Rude, slept: list[float]
) -> None:
    rude.answers = [saying(ACCEPTED, status=202), telling(QUEUED), telling(QUEUED, END)]
    done = await shell.run("chat", "hello")
    assert (done.code, done.out, bool(slept)) == (0, "hi\n", True)


async def test_a_message_that_was_perhaps_accepted_is_sent_again_under_its_key(
    shell: Shell, rude: Rude, slept: list[float]
) -> None:
    rude.answers = [hanging_up, saying({**ACCEPTED, "again": True}, status=202), telling(END)]
    done = await shell.run("chat", "hello")
    assert (done.code, done.out, bool(slept)) == (0, "hi\n", True)
    assert rude.asked == [*["POST /messages"] * 2, "GET /messages/msg-1/events"]
    first, second = rude.bodies[:2]
    assert first == second
    assert len(first["key"]) >= 32


async def test_a_server_that_stays_away_is_given_up_with_code_3(
    shell: Shell, rude: Rude, slept: list[float]
) -> None:
    rude.answers = [saying(ACCEPTED, status=202), *[telling(QUEUED, cut=True)] * 20]
    done = await shell.run("chat", "hello")
    assert (done.code, done.out) == (3, "")
    assert done.err == (
        "salver: Salver went away. The message is kept and is answered at its next start.\n"
    )
    assert slept == sorted(slept)


async def test_a_message_that_is_unknown_after_a_restart_is_said(
    shell: Shell, rude: Rude, slept: list[float]
) -> None:
    gone = {"error": {"kind": "Missing", "message": "There is no message 'msg-1'."}}
    rude.answers = [
        saying(ACCEPTED, status=202),
        telling(QUEUED, cut=True),
        saying(gone, status=404),
    ]
    done = await shell.run("chat", "hello")
    assert (done.code, done.err) == (2, "salver: There is no message 'msg-1'.\n")
    assert slept


# What is shown


async def show(shell: Shell, rude: Rude, *events: Any) -> tuple[str, str]:
    """What is printed of these events, before the end."""
    rude.answers = [saying(ACCEPTED, status=202), telling(*events, END)]
    done = await shell.run("chat", "hello")
    return done.out, done.err


async def test_why_it_waits_is_said_once(shell: Shell, rude: Rude) -> None:
    full, other = ({**QUEUED, "trouble": why} for why in ("The disk is full.", "No model."))
    _, err = await show(shell, rude, full, full, QUEUED, other)
    assert err == "salver: it waits: The disk is full.\nsalver: it waits: No model.\n"


async def test_off_a_terminal_nothing_but_the_reply_is_printed(shell: Shell, rude: Rude) -> None:
    events = [{"event": kind, "text": "x"} for kind in ("text", "tool", "output", "tool-end")]
    assert await show(shell, rude, *events) == ("hi\n", "")


@pytest.mark.parametrize("state", ["failed", "stopped", "cancelled"])
async def test_an_end_without_an_answer_is_a_failure(shell: Shell, rude: Rude, state: str) -> None:
    end = {"event": "end", "state": state, "reason": "So it goes.", "reply": ""}
    rude.answers = [saying(ACCEPTED, status=202), telling(end)]
    done = await shell.run("chat", "hello")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"salver: {state}: So it goes.\n"


async def test_with_json_events_are_passed_on_as_they_come(shell: Shell, rude: Rude) -> None:
    odd = {"event": "news", "text": "話"}
    rude.answers = [saying(ACCEPTED, status=202), telling(odd, END)]
    done = await shell.run("chat", "--json", "hello")
    assert done.lines == [odd, END]
    assert "話" in done.out


async def test_what_the_server_is_asked_is_what_was_typed(shell: Shell, rude: Rude) -> None:
    rude.answers = [saying(ACCEPTED, status=202), telling(END)]
    await shell.run("chat", "--agent", "ada", "--new", "hello")
    body = rude.bodies[0]
    assert {**body, "key": ""} == {
        "text": "hello",
        "agent": "ada",
        "session": None,
        "new": True,
        "key": "",
        "when": "now",
        "quote": None,
        "files": [],
    }


# Files


@pytest.mark.usefixtures("house")
async def test_a_file_goes_there_and_another_comes_back(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"hello")
    out = await shell.ok("chat", "--file", str(tmp_path / "a.txt"), "!shell tr a-z A-Z < a.txt")
    assert "HELLO" not in out  # it does not lie in the workspace, but beside the messages
    (tmp_path / "b.txt").write_bytes(b"x" * 12_345)
    sent = "!shell head -c 12345 /dev/zero > made.bin\n!sendfile made.bin\n!say done"
    out = await shell.ok("chat", "--file", str(tmp_path / "b.txt"), sent)
    (line,) = [line for line in out.splitlines() if line.startswith("· file")]
    head, _, path = line.partition(": ")
    assert head == "· file made.bin (12 kB)"
    (made,) = (shell.home / "outgoing").glob("del-*/made.bin")
    assert path == str(made)
    assert made.read_bytes() == b"\0" * 12_345


@pytest.mark.usefixtures("house")
async def test_what_the_agent_sends_is_saved_beside_what_is_there(
    shell: Shell, tmp_path: Path
) -> None:
    order = "!shell echo hello > a.txt\n!sendfile a.txt\n!say done"
    saved = tmp_path / "saved"
    for number, name in enumerate(("a.txt", "a-2.txt", "a-3.txt")):
        words = ("chat", "--save", str(saved), order)
        out = await (shell.ok("chat", "--json", *words[1:]) if number == 1 else shell.ok(*words))
        assert number == 1 or f"· file a.txt (6 B): {saved / name}" in out
        assert (saved / name).read_bytes() == b"hello\n"
    assert len(list(saved.iterdir())) == 3


@pytest.mark.usefixtures("house")
async def test_files_alone_are_a_message_and_are_listed(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"hello")
    words = [word for _ in range(2) for word in ("--file", str(tmp_path / "a.txt"))]
    assert "a.txt a-2.txt" in await shell.ok("chat", *words)
    (session,) = (await shell.run("sessions", "list", "--json")).json
    shown = await shell.ok("sessions", "show", session["id"])
    (message,) = (await shell.run("sessions", "show", session["id"], "--json")).json["messages"]
    lies = shell.home / "intake" / message["id"]
    assert f"    · file a-2.txt (5 B): {lies / 'a-2.txt'}\n" in shown


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "There is nothing to send"),
        (("--file", "nowhere"), "There is no file nowhere"),
        (("--file", "/tmp", "hi"), "There is no file /tmp"),
        (("--file", "/dev/zero", "hi"), "There is no file /dev/zero"),
    ],
    ids=["nothing", "missing", "folder", "device"],
)
async def test_what_is_no_file_is_not_sent(shell: Shell, words: tuple[str, ...], says: str) -> None:
    done = await shell.run("chat", *words)
    assert (done.code, done.out) == (2, "")
    assert says in done.err


@pytest.mark.usefixtures("slept")
async def test_a_file_whose_server_went_away_is_sent_again(
    shell: Shell, rude: Rude, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b'"hello"')
    uploaded = saying({"id": "fil-1"}, status=201)
    rude.answers = [
        hanging_up, uploaded, hanging_up, saying(ACCEPTED, status=202), telling(END)
    ]  # fmt: skip
    assert await shell.ok("chat", "--file", str(tmp_path / "a.txt"), "hi") == "hi\n"
    assert rude.asked == [
        *["POST /files?name=a.txt"] * 2,
        *["POST /messages"] * 2,
        "GET /messages/msg-1/events",
    ]
    first, again = rude.bodies[2:4]
    assert first == again
    assert first["files"] == ["fil-1"]


async def test_who_queues_a_message_is_told_so(shell: Shell, rude: Rude) -> None:
    rude.answers = [saying(ACCEPTED, status=202), telling({**QUEUED, "state": "held"}, END)]
    out, err = await shell.on_terminal("chat", "--queue", "hello")
    assert out == "hi\n"
    assert "· it is in the queue; `salver messages list` shows it" in err
