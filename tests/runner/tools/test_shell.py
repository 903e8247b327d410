"""Real commands, run by the real shell, in the test's own process."""

import asyncio
import os
from asyncio import TaskGroup
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from salver_runner.processes import descendants, end_descendants, reap_orphans
from salver_runner.tools import LONGEST_RESULT, Handed, Result
from salver_runner.tools.shell import MOST_KEPT, TOOL, Kept, run_shell
from salver_runner.web import Web
from salver_runner.workspace.seen import Seen
from tests.runner.bus import NO_WEB

pytestmark = pytest.mark.usefixtures("foster_parent")


class Watched:
    """Live output, as it comes."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._news = asyncio.Event()

    def __call__(self, text: str) -> None:
        self.pieces.append(text)
        self._news.set()

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    async def until(self, text: str) -> None:
        while text not in self.text:
            self._news.clear()
            await self._news.wait()


def ignore(*_: object) -> None: ...


def seen_by(output: Callable[[str], None]) -> Handed:
    return Handed(output=output, send=ignore, outgoing=Path("nowhere"), seen=Seen(), web=NO_WEB)


async def run(command: str, **arguments: object) -> Result:
    return await run_shell({"command": command, **arguments}, seen_by(ignore))


async def test_the_output_is_the_result() -> None:
    assert await run("echo hello; echo there >&2") == Result(text="hello\nthere\n")


async def test_silence_is_said() -> None:
    assert await run("true") == Result(text="(no output)")


async def test_a_failing_command_says_its_exit_code() -> None:
    assert await run("echo no; exit 3") == Result(text="no\n\nExit code 3.", failed=True)
    assert (await run("kill -9 $$")).text.endswith("Exit code -9.")


async def test_output_is_seen_while_the_command_runs(tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    os.mkfifo(go_on)
    watched = Watched()
    async with TaskGroup() as tasks:
        running = tasks.create_task(
            run_shell({"command": f"echo first; read x < '{go_on}'; echo $x"}, seen_by(watched)),
            name="run",
        )
        await watched.until("first\n")
        assert not running.done()
        await asyncio.to_thread(go_on.write_text, "second\n", encoding="utf-8")
    assert running.result() == Result(text="first\nsecond\n")
    assert watched.text == "first\nsecond\n"


async def test_a_command_that_takes_too_long_is_ended_with_what_it_said() -> None:
    result = await run("echo begun; sleep 1000", timeout=0.2)
    assert result == Result(
        text="begun\n\nStopped after 0.2 s: the time limit of this call.", failed=True
    )
    assert descendants(os.getpid()) == []


async def test_a_stop_ends_the_command_and_all_that_it_started(tmp_path: Path) -> None:
    away = tmp_path / "away"
    command = f"(setsid sh -c 'echo $$ > {away}; sleep 1000' &); while [ ! -s {away} ]; do sleep 0.01; done; echo away; sleep 1000"
    watched = Watched()
    async with TaskGroup() as tasks:
        running = tasks.create_task(run_shell({"command": command}, seen_by(watched)), name="run")
        await watched.until("away")
        running.cancel()
    assert not psutil.pid_exists(int(away.read_text(encoding="utf-8")))
    assert descendants(os.getpid()) == []


async def test_a_child_in_the_background_holds_nothing_up_and_lives_on() -> None:
    result = await run("echo started; sleep 1000 &")
    assert result == Result(text="started\n")
    assert len(descendants(os.getpid())) == 1
    end_descendants()
    reap_orphans(spare=None)


async def test_a_command_that_closes_its_output_is_waited_for(tmp_path: Path) -> None:
    done = tmp_path / "done"
    await run(f"exec >&- 2>&-; sleep 0.1; touch '{done}'")
    assert done.exists()


async def test_a_command_gets_nothing_to_read() -> None:
    assert await run("cat; echo end") == Result(text="end\n")


async def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert (await run(r"printf 'a\377\000b'")).text == "a\ufffd\x00b"


async def test_a_character_that_comes_in_two_pieces_is_whole() -> None:
    assert (await run(r"printf '\342\202'; sleep 0.1; printf '\254'")).text == "€"


async def test_a_character_that_never_comes_whole_is_shown_as_such() -> None:
    assert (await run(r"printf 'a\342\202'")).text == "a\ufffd"


async def test_huge_output_is_kept_in_part() -> None:
    watched = Watched()
    result = await run_shell(
        {"command": "echo begin; head -c 30000000 /dev/zero | tr '\\0' x; echo; echo end"},
        seen_by(watched),
    )
    assert result.text.startswith("begin\nxxx")
    assert result.text.endswith("xxx\nend\n")
    assert "characters left out" in result.text
    assert len(result.text) < LONGEST_RESULT + 200
    assert len(watched.text) == 30_000_011


def test_of_endless_output_only_so_much_is_held() -> None:
    kept = Kept()
    for _ in range(300):
        kept.add("x" * 65_536)
    held = sum(len(value) for value in vars(kept).values() if isinstance(value, str))
    assert held < 2 * MOST_KEPT
    assert len(str(kept)) < LONGEST_RESULT + 200


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"command": ""},
        {"command": " \n"},
        {"command": ["ls"]},
        {"command": "ls", "timeout": "10"},
        {"command": "ls", "timeout": 0},
        {"command": "ls", "timeout": -1},
        {"command": "ls", "timeout": 601},
        {"command": "ls", "timeout": float("nan")},
        {"command": "ls", "timeout": float("inf")},
        {"command": "ls\0"},
        {"command": "echo \ud83d"},
        {"command": "echo " + "x" * 1_000_000},
    ],
    ids=lambda arguments: repr(arguments)[:40],
)
async def test_arguments_that_make_no_sense_are_said_to_the_model(
    arguments: dict[str, object],
) -> None:
    result = await run_shell(arguments, seen_by(ignore))
    assert result.failed
    assert result.text.strip()


def test_the_schema_names_what_it_needs() -> None:
    assert TOOL.parameters["required"] == ["command"]


async def test_a_command_finds_the_way_out_for_https_alone() -> None:
    async def proxy() -> str:
        return "http://127.0.0.1:7"

    web = Web(socket=NO_WEB.socket, token="token", proxy=proxy)
    handed = Handed(output=ignore, send=ignore, outgoing=Path("nowhere"), seen=Seen(), web=web)
    found = await run_shell({"command": "env | grep -i proxy | sort; env | grep token"}, handed)
    assert found.text == (
        "HTTPS_PROXY=http://127.0.0.1:7\nhttps_proxy=http://127.0.0.1:7\n\nExit code 1."
    )


async def test_a_command_runs_where_there_is_no_way_out() -> None:
    assert "proxy" not in (await run("env")).text.lower()
