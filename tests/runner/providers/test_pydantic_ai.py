import asyncio
import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from salver_runner.launch import Limits
from salver_runner.providers.pydantic_ai.asking import Patience
from salver_runner.tools import Result
from salver_runner.turn import OUT_OF_TIME, Failed
from tests.fakes.model import KEY, ScriptedModel
from tests.runner.providers.conftest import TOKEN, Door, Session, patient, tool


async def test_an_answer_is_streamed_piece_by_piece(session: Session) -> None:
    assert await session.ask("!say one two three") == "one two three"
    assert session.turns[0].said == ["one ", "two ", "three\n"]


async def test_a_request_holds_instructions_message_and_tools(
    session: Session, model: ScriptedModel
) -> None:
    await session.ask("!say hello")
    [request] = model.requests
    [system, user] = request.messages
    assert system["role"] == "system"
    assert system["content"].startswith("You take part in a conversation")
    assert system["content"].endswith("\n\nYou are the house agent.")
    assert user["role"] == "user"
    assert 'number="1" from="Ada"' in user["content"]
    assert [tool["function"]["name"] for tool in request.body["tools"]] == sorted(session.tools)


async def test_a_tool_runs_and_its_result_reaches_the_model(
    session: Session, model: ScriptedModel
) -> None:
    reply = await session.ask("!say let me look\n!shell echo 4$((1+1))\n!say done")
    assert reply == "let me look\n\ndone"
    *_, call, result = model.requests[1].messages
    assert call["tool_calls"][0]["function"]["arguments"] == '{"command":"echo 4$((1+1))"}'
    assert result["content"] == "42\n"
    assert [row[1] for row in session.outbox.turns(after=0)] == ["claim", "tool", "continuation"]


async def test_files_are_written_read_edited_and_searched_in_one_turn(
    session: Session, model: ScriptedModel, workspace: Path
) -> None:
    (workspace / "list").write_text("milk\n", encoding="utf-8")
    reply = await session.ask(
        '!call write {"path": "list", "text": "x"}\n'
        '!call read {"path": "list"}\n'
        '!call edit {"path": "list", "old": "milk", "new": "bread"}\n'
        '!call write {"path": "notes/a", "text": "brown bread\\n"}\n'
        '!call grep {"pattern": "b\\\\w+d"}\n'
        '!call send_message {"text": "found it"}\n'
        '!call remember {"text": "Ada buys bread"}\n'
        "!say done"
    )
    assert reply == "done"
    results = [m["content"] for m in model.requests[-1].messages if m["role"] == "tool"]
    assert results[:4] == [
        "list exists, and you have not read it. Read it first. Nothing was changed.",
        "     1\tmilk",
        "Changed 1 place in list:\n     1\tbread\n     2\t",
        "Made notes/a: 1 line.",
    ]
    assert sorted(results[4].splitlines()) == ["list:1: bread", "notes/a:1: brown bread"]
    kinds = [row[1] for row in session.outbox.turns(after=0)]
    assert kinds == ["claim", *["tool"] * 6, "send", "tool", "continuation"]
    await session.ask("!say hello")
    system = model.requests[-1].messages[0]["content"]
    assert system.endswith(": Ada buys bread\n</own-notes>")


async def test_several_calls_of_one_answer_run_one_after_the_other(
    session: Session, model: ScriptedModel
) -> None:
    ran: list[object] = []

    def note(arguments: Mapping[str, object]) -> Result:
        ran.append(arguments["command"])
        return Result(text=f"ran {len(ran)}")

    session.tools = tool("shell", note)
    await session.ask("!shells a ;; b ;; c\n!say done")
    assert ran == ["a", "b", "c"]
    results = [m["content"] for m in model.requests[1].messages if m["role"] == "tool"]
    assert results == ["ran 1", "ran 2", "ran 3"]


async def test_arguments_that_are_no_json_are_answered_with_an_error(
    session: Session, model: ScriptedModel
) -> None:
    assert await session.ask('!call shell {"command": \n!say sorry') == "sorry"
    result = model.requests[1].messages[-1]
    assert result["role"] == "tool"
    assert result["content"].startswith("Nothing was done: the arguments are not a JSON object")


async def test_a_tool_that_does_not_exist_is_answered_with_those_that_do(
    session: Session, model: ScriptedModel
) -> None:
    session.tools = tool("shell", lambda _: Result(text=""))
    assert await session.ask("!call teleport {}\n!say done") == "done"
    result = model.requests[1].messages[-1]["content"]
    assert result == "There is no tool 'teleport'; there are: shell."


async def test_the_next_turn_remembers(session: Session, model: ScriptedModel) -> None:
    await session.ask("the number is 7\n!say noted")
    assert "the number is 7" in await session.ask("!recall")
    assert [m["role"] for m in model.requests[-1].messages] == [
        "system",
        "user",
        "assistant",
        "user",
    ]


async def test_a_new_runner_goes_on_from_what_was_kept(session: Session) -> None:
    await session.ask("the number is 7\n!shell echo hi\n!say noted")
    session.history = json.loads(json.dumps(session.outbox.history("pydantic-ai")))
    assert "the number is 7" in await session.ask("!recall")


async def test_a_history_that_cannot_be_read_is_left_behind(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    session.history = [{"kind": "from another age"}]
    assert await session.ask("!say afresh") == "afresh"
    assert "cannot be read" in caplog.text


async def test_a_follow_up_during_a_tool_goes_into_the_next_request(
    session: Session, model: ScriptedModel
) -> None:
    def interrupted(_: Mapping[str, object]) -> Result:
        session.write("!say and the second", sender="Ben")
        return Result(text="ok")

    session.tools = tool("shell", interrupted)
    assert await session.ask("!shell x\n!say the first") == "the first\nand the second"
    assert len(model.requests) == 2
    assert [m["role"] for m in model.requests[1].messages][-2:] == ["tool", "user"]
    assert [message.seq for message in session.turns[0].seen] == [1, 2]


async def test_a_follow_up_during_the_answer_is_answered_after_it(
    session: Session, model: ScriptedModel
) -> None:
    session.write("!say first\n!hold")
    turn = session.begin()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(session.run(turn))
        await model.received(1)
        session.write("!say second")
        session.write("!say third")
        model.released.set()
    assert (
        running.result() == "first\n.\n\nsecond\nthird" or running.result() == "first\n.\n\nthird"
    )
    assert len(model.requests) == 2
    assert [message.seq for message in turn.seen] == [1, 2, 3]


async def test_a_note_is_marked_as_context(session: Session, model: ScriptedModel) -> None:
    session.write("the door bell rang", note=True)
    await session.ask("!say ok")
    assert '<context number="1"' in model.requests[0].user_texts[0]
    assert '<message number="2"' in model.requests[0].user_texts[0]


async def test_a_retried_attempt_is_told_what_was_done(
    session: Session, model: ScriptedModel
) -> None:
    session.write("!say ok")
    await session.run(session.begin(attempt=2, note="An earlier attempt was cut off."))
    [text] = model.requests[0].user_texts
    assert "</now>\n\n<notice>\nAn earlier attempt was cut off.\n</notice>\n\n<message" in text


async def test_stopped_while_speaking_the_model_knows_what_it_had_said(
    session: Session, model: ScriptedModel
) -> None:
    session.write("!say half of\n!hold\n!say the rest")
    turn = session.begin()
    await stopped(session, model, after=lambda: "." in "".join(turn.said))
    assert await session.ask("!say next") == "next"
    roles = [(m["role"], m["content"]) for m in model.requests[1].messages[1:]]
    assert [role for role, _ in roles] == ["user", "assistant", "user"]
    assert roles[1][1] == "half of\n."


async def test_stopped_before_the_first_word_the_question_is_remembered(
    session: Session, model: ScriptedModel
) -> None:
    session.write("!hold")
    session.begin()
    await stopped(session, model, after=lambda: bool(model.requests))
    await session.ask("!recall")
    assert "!hold" in model.requests[1].user_texts[0]


async def test_stopped_while_a_tool_runs_the_next_request_is_valid(
    session: Session, model: ScriptedModel
) -> None:
    session.write("!shells echo one ;; sleep 60 ;; echo three\n!say done")
    session.begin()
    rows = session.outbox.turns
    await stopped(session, model, after=lambda: [r[1] for r in rows(after=0)].count("tool") == 2)
    assert await session.ask("!say next") == "next"
    results = [m["content"] for m in model.requests[1].messages if m["role"] == "tool"]
    unfinished = "The turn was stopped before this call was done."
    assert results == ["one\n", unfinished, unfinished]


async def stopped(session: Session, model: ScriptedModel, *, after: Callable[[], bool]) -> None:
    """Run the turn that was begun, and stop it once `after` is true."""
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
        running = tasks.create_task(session.run(session.turns[-1]))
        await until(after)
        running.cancel()
    model.released.set()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - a turn rings nobody: it is only looked at
            await asyncio.sleep(0.002)


async def test_a_gateway_that_vanishes_in_mid_stream_is_waited_for(
    session: Session, model: ScriptedModel, door: Door
) -> None:
    session.write("!say what was said before\n!hold\n!say and after")
    turn = session.begin()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(session.run(turn))
        await until(lambda: "." in "".join(turn.said))
        await door.vanish()
        model.released.set()
        await door.open()
    assert running.result() == "what was said before\n.and after"
    assert len(model.requests) == 2
    assert turn.rounds == 1


SERVING = """
import asyncio, sys
from dataclasses import dataclass
from pathlib import Path
from salver_server.clock import SystemClock
from salver_server.gateway import open_gateway, token_hash
from salver_server.kit.secret import Secret

class Meter:
    async def begin(self, ask):
        return 1

    async def end(self, call, *, status, tokens):
        pass

@dataclass
class Upstream:
    url: str
    held: str
    name = "openai/v1"
    title = "OpenAI"
    wire = "chat"
    models = ("scripted",)
    plain = False

    async def key(self):
        return Secret(self.held)

async def main(url, key, token, path):
    async with open_gateway(SystemClock(), meter=Meter()) as gateway:
        await gateway.open(
            "s",
            Path(path),
            agent="house",
            token_hash=token_hash(token),
            upstreams=[Upstream(url, key)],
        )
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_server_killed_in_mid_stream_and_started_again_loses_nothing(
    session: Session, model: ScriptedModel, door: Door
) -> None:
    await door.vanish()
    command = (sys.executable, "-c", SERVING, model.url, KEY, TOKEN, str(door.path))
    session.write("!say what was said before\n!hold\n!say and after")
    turn = session.begin()
    server = await asyncio.create_subprocess_exec(*command)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(session.run(turn))
        await until(lambda: "." in "".join(turn.said))
        server.kill()
        await server.wait()
        model.released.set()
        server = await asyncio.create_subprocess_exec(*command)
    server.kill()
    await server.wait()
    assert running.result() == "what was said before\n.and after"
    assert len(model.requests) == 2


async def test_what_earlier_answers_said_stays_when_a_later_one_is_cut(session: Session) -> None:
    reply = await session.ask("!say first\n!shell true\n!say second\n!cut\n!say third")
    assert reply == "first\n\nsecond\nthird"


async def test_a_gateway_that_is_not_there_yet_is_waited_for(session: Session, door: Door) -> None:
    await door.vanish()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(session.ask("!say hello"))
        await until(lambda: bool(session.turns and session.turns[0].rounds))
        await door.open()
    assert running.result() == "hello"


async def test_a_gateway_that_stays_away_ends_the_turn(session: Session, door: Door) -> None:
    await door.vanish()
    session.provider = patient(Patience(away=0))
    with pytest.raises(Failed, match="gateway to the model was away"):
        await session.ask("!say hello")


async def test_an_answer_that_always_breaks_off_ends_the_turn(session: Session) -> None:
    with pytest.raises(Failed, match="broke off again and again"):
        await session.ask("!cut 99")
    assert "".join(session.turns[0].said) == "This sentence will not be"


async def test_a_model_that_says_nothing_ends_the_turn(session: Session) -> None:
    session.provider = patient(Patience(silence=0.1))
    with pytest.raises(Failed, match="said nothing for very long"):
        await session.ask("!hold")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
async def test_a_passing_trouble_is_waited_out(
    session: Session, model: ScriptedModel, status: int
) -> None:
    assert await session.ask(f"!fail {status} 2\n!say at last") == "at last"
    assert len(model.requests) == 3


async def test_a_lasting_trouble_ends_the_turn(session: Session, model: ScriptedModel) -> None:
    with pytest.raises(Failed, match=r"has trouble of its own \(The script says 503\)"):
        await session.ask("!fail 503")
    assert len(model.requests) == 4


async def test_a_provider_that_wants_a_long_pause_is_not_waited_for(
    session: Session, model: ScriptedModel
) -> None:
    model.retry_after = "600"
    with pytest.raises(Failed, match="Send your message again in 600 s"):
        await session.ask("!fail 429")
    assert len(model.requests) == 1


async def test_after_a_passing_failure_the_question_is_remembered(session: Session) -> None:
    with pytest.raises(Failed):
        await session.ask("the number is 7\n!fail 503")
    assert "the number is 7" in await session.ask("!recall")


async def test_a_rejected_request_is_forgotten(session: Session) -> None:
    await session.ask("the number is 7\n!say noted")
    with pytest.raises(Failed, match=r"rejected the request.* It said: The script says 400\."):
        await session.ask("poison\n!fail 400")
    reply = await session.ask("!recall")
    assert "the number is 7" in reply
    assert "poison" not in reply


async def test_a_refused_key_is_said_plainly(session: Session, door: Door) -> None:
    door.key = "sk-wrong"
    await door.open()
    with pytest.raises(Failed, match=r"OpenAI refused the key\. Set a valid one"):
        await session.ask("!say hello")


async def test_an_unknown_model_is_said_plainly(session: Session, model: ScriptedModel) -> None:
    model.models = ["another"]
    with pytest.raises(Failed, match="does not know the model 'scripted'"):
        await session.ask("!say hello")


async def test_an_upstream_that_is_not_there_is_said_plainly(
    session: Session, door: Door, unused_tcp_port: int
) -> None:
    door.model = ScriptedModel(port=unused_tcp_port)
    async with door.model:
        await door.open()
    with pytest.raises(
        Failed, match=rf"cannot reach .* at 127\.0\.0\.1:{unused_tcp_port}: .*refused"
    ):
        await session.ask("!say hello")


async def test_an_agent_without_a_model_is_told_to_choose_one(session: Session) -> None:
    session.launch = replace(session.launch, models=())
    with pytest.raises(Failed, match=r"Set `model` in its AGENT\.md"):
        await session.ask("!say hello")


async def test_at_its_limit_a_turn_ends_with_a_summary(
    session: Session, model: ScriptedModel
) -> None:
    session.limit(2)
    reply = await session.ask("!shell echo 1\n!shell echo 2\n!shell echo 3\n!say done")
    assert reply == "Left undone: echo 3. done"
    assert "tools" not in model.requests[-1].body
    assert "The limit of this turn is reached" in model.requests[-1].user_texts[-1]
    assert len(model.requests) == 3
    assert await session.ask("!say next") == "next"


async def test_when_its_time_is_up_in_the_middle_of_a_tool_a_turn_ends_with_a_summary(
    session: Session, model: ScriptedModel
) -> None:
    session.launch = replace(session.launch, limits=Limits(rounds=20, seconds=0.3))
    assert await session.ask("!shell sleep 60\n!shell true\n!say done") == "Left undone: true. done"
    *_, result, asked = model.requests[-1].messages
    assert result["content"] == OUT_OF_TIME
    assert "The limit of this turn is reached" in asked["content"]


async def test_what_comes_in_at_the_limit_opens_the_next_turn(session: Session) -> None:
    def interrupted(_: Mapping[str, object]) -> Result:
        session.write("!say for later")
        return Result(text="ok")

    session.tools = tool("shell", interrupted)
    session.limit(1)
    await session.ask("!shell x")
    assert [message.seq for message in session.turns[0].seen] == [1]
    assert await session.run(session.begin()) == "for later"


async def test_reasoning_is_kept_and_not_said(session: Session, model: ScriptedModel) -> None:
    assert await session.ask("!think hmm\n!say so it is") == "so it is"
    await session.ask("!say next")
    assert model.requests[1].messages[2]["reasoning_content"] == "hmm"


async def test_nothing_on_the_runners_side_ever_holds_the_key(
    session: Session, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await session.ask("!shell env\n!say done")
    door.model.key = "sk-another"
    with pytest.raises(Failed) as failure:
        await session.ask("!say hello")
    seen = f"{session.history} {session.outbox.turns(after=0)} {failure.value!r} {caplog.text}"
    assert TOKEN not in str(session.history)
    assert KEY not in seen
    assert [request.headers["authorization"] for request in door.model.requests] == [
        f"Bearer {KEY}"
    ] * len(door.model.requests)
