"""Every order of the demo provider, as its turns show them."""

import asyncio
import signal
import subprocess
import sys
from textwrap import dedent

import pytest

from salver_runner import tools
from salver_runner.inbox import Message
from salver_runner.providers import demo
from salver_runner.providers.demo import PROVIDER
from salver_runner.turn import Failed, Turn
from tests.runner.bus import NO_WEB, SENT_AT, Bus, cut_line
from tests.runner.timeless import timeless


class Stage:
    """One turn of the demo provider."""

    def __init__(self, bus: Bus, *, rounds: int = 50) -> None:
        self.bus = bus
        self.waiting: list[Message] = []
        self.turn = Turn(
            launch=bus.launch(rounds=rounds),
            number=1,
            attempt=1,
            outbox=bus.outbox(),
            line=cut_line(bus),
            gateway=bus.root / "line" / "gateway",
            files=bus.root / "in" / "files",
            web=NO_WEB,
            tools=tools.discover(),
            pending=lambda: [it for it in self.waiting if it not in self.turn.claimed],
        )

    def put(self, text: str, *, wakes: bool = True) -> None:
        seq = len(self.waiting) + 1
        self.waiting.append(
            Message(
                seq=seq,
                id=f"m-{seq}",
                kind="message" if wakes else "note",
                target=None,
                sender="Ada",
                sent_at=SENT_AT,
                text=text,
                wakes=wakes,
            )
        )

    async def play(self, *texts: str) -> str:
        for text in texts:
            self.put(text)
        await PROVIDER.turn(self.turn)
        return "".join(self.turn.said)


@timeless
async def test_say_says_it(bus: Bus) -> None:
    assert await Stage(bus).play("!say hello there") == "hello there\n"


@timeless
async def test_orders_are_run_in_order_over_all_messages(bus: Bus) -> None:
    assert await Stage(bus).play("!say a\nnot this\n  !say b", "!say c") == "a\nb\nc\n"


@timeless
async def test_send_sends_before_the_end(bus: Bus) -> None:
    stage = Stage(bus)
    assert await stage.play("!send soon\n!say now") == "now\n"
    assert [row.body for row in bus.rows("send")] == [{"text": "soon"}]


async def test_shell_shows_the_command_and_what_came_of_it(bus: Bus) -> None:
    assert await Stage(bus).play("!shell echo hello; exit 2") == (
        "$ echo hello; exit 2\nhello\n\nExit code 2.\n"
    )


@timeless
async def test_what_is_compacted_keeps_what_was_to_be_remembered(bus: Bus) -> None:
    stage = Stage(bus)
    await stage.play("!remember milk\n!say hi")
    stage.turn.history, stage.turn.kept = stage.turn.kept, []
    assert await PROVIDER.compact(stage.turn) == [
        {"role": "memory", "text": "milk"},
        {"role": "agent", "text": "(1 messages were compacted.)"},
    ]


@timeless
async def test_slow_streams_dots(bus: Bus) -> None:
    stage = Stage(bus)
    assert await stage.play("!slow 1") == "..........\n"
    assert await Stage(bus).play("!slow 0") == ".\n"


@timeless
async def test_remember_and_recall_go_by_what_was_kept(bus: Bus) -> None:
    stage = Stage(bus)
    stage.turn.history = [{"role": "memory", "text": "milk"}]
    said = await stage.play("!remember bread\n!recall")
    assert said == "I will remember: bread\nmilk\nbread\n"
    assert {"role": "memory", "text": "bread"} in stage.turn.kept
    assert stage.turn.kept[-1] == {"role": "agent", "text": said}


@timeless
async def test_recall_of_nothing_is_said(bus: Bus) -> None:
    assert await Stage(bus).play("!recall") == "I remember nothing yet.\n"


@timeless
async def test_fail_fails_with_its_reason(bus: Bus) -> None:
    with pytest.raises(Failed, match="It rained"):
        await Stage(bus).play("!fail It rained.")
    with pytest.raises(Failed, match="told to fail"):
        await Stage(bus).play("!fail")


@timeless
async def test_hang_never_comes_back(bus: Bus) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await Stage(bus).play("!hang")


@timeless
async def test_an_unknown_order_is_said(bus: Bus) -> None:
    assert await Stage(bus).play("!dance") == "The demo provider knows no order !dance.\n"


@pytest.mark.parametrize("order", ["!slow soon", "!slow nan", "!slow inf", "!slow -1"])
def test_an_order_that_makes_no_sense_fails_in_plain_words(bus: Bus, order: str) -> None:
    @timeless
    async def story() -> None:
        with pytest.raises(Failed, match="!slow wants a number of seconds"):
            await Stage(bus).play(order)

    story()


async def test_a_message_without_orders_shows_a_whole_turn(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "PACE", 0)
    stage = Stage(bus)
    stage.turn.history = [{"role": "user", "text": "good morning"}]
    said = await stage.play("how are you?")
    assert "no model is thinking here. You wrote: “how are you?”." in said
    assert "This is your message number 2; the first was “good morning”." in said
    assert bus.rows("tool")[0].body["name"] == "shell"


@timeless
async def test_a_note_is_known_and_not_answered(bus: Bus) -> None:
    stage = Stage(bus)
    stage.put("the cat came in", wakes=False)
    assert await stage.play("!say hello") == "hello\n"
    assert stage.turn.kept[0] == {"role": "user", "text": "the cat came in"}


@timeless
async def test_an_attempt_after_a_crash_says_what_it_was_told(bus: Bus) -> None:
    stage = Stage(bus)
    stage.turn.note = "Mind the gap."
    assert await stage.play("!say hello") == "(Mind the gap.)\nhello\n"


@timeless
async def test_at_the_limit_it_sums_up(bus: Bus) -> None:
    said = await Stage(bus, rounds=1).play("!say one\n!say two\n!say three")
    assert said == "one\n\nThe limit of this turn is reached; 2 orders are left undone."


def test_crash_kills_the_runner(bus: Bus) -> None:
    program = """
        import asyncio, pathlib, sys
        sys.path[:0] = sys.argv[2:]
        from tests.runner.bus import Bus
        from tests.runner.providers.test_demo import Stage
        asyncio.run(Stage(Bus(pathlib.Path(sys.argv[1]))).play("!crash"))
    """
    place = bus.root / "crash"
    place.mkdir()
    ended = subprocess.run([sys.executable, "-c", dedent(program), place, *sys.path], check=False)
    assert ended.returncode == -signal.SIGKILL
