"""Run a command in the workspace, with live output and an end that leaves nothing behind."""

import asyncio
import codecs
import os
import subprocess
from collections.abc import Callable, Mapping

from salver_runner.launch import surroundings
from salver_runner.processes import end_descendants, reap_orphans
from salver_runner.tools import Handed, Result, ToolSpec, shorten

DEFAULT_TIMEOUT = 120.0
LONGEST_TIMEOUT = 600.0
MOST_KEPT = 1_000_000
"""Characters of output that are kept while a command runs; later ones push out the middle."""


async def run_shell(arguments: Mapping[str, object], handed: Handed) -> Result:
    command, seconds = arguments.get("command"), arguments.get("timeout", DEFAULT_TIMEOUT)
    if not isinstance(command, str) or not command.strip():
        return Result(text="shell needs `command`, a string that is not empty.", failed=True)
    if not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_TIMEOUT:
        return Result(
            text=f"`timeout` is in seconds, above 0 and at most {LONGEST_TIMEOUT:.0f}.", failed=True
        )

    kept = Kept()
    proxy = await _proxy(handed)
    try:
        child = subprocess.Popen(  # noqa: S603, ASYNC220 - running commands is its purpose; a spawn takes 2 ms
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=surroundings(proxy),
        )
    except (OSError, ValueError) as exc:
        # Too long, holding what no command line can hold, or one process too many.
        return Result(text=f"The command could not be started: {exc}.", failed=True)
    try:
        async with asyncio.timeout(seconds):
            await _follow(child, kept, handed.output)
    except TimeoutError:
        return Result(
            text=f"{kept}\nStopped after {seconds:g} s: the time limit of this call.", failed=True
        )
    finally:
        if child.poll() is None:
            end_descendants()
            child.wait()
        reap_orphans(spare=None)
    if child.returncode:
        return Result(text=f"{kept}\nExit code {child.returncode}.", failed=True)
    return Result(text=str(kept) or "(no output)")


async def _proxy(handed: Handed) -> str:
    """Empty where there is none: a command that needs no web runs all the same."""
    try:
        return await handed.web.proxy()
    except OSError:
        return ""


async def _follow(
    child: subprocess.Popen[bytes], kept: "Kept", output: Callable[[str], None]
) -> None:
    """Pass output on until the command has ended, even if something that it left keeps the pipe open."""
    assert child.stdout is not None
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pipe, pidfd = child.stdout.fileno(), os.pidfd_open(child.pid)
    os.set_blocking(pipe, False)

    def drain() -> None:
        try:
            chunk = os.read(pipe, 65536)
        except BlockingIOError:
            return
        if not chunk:
            loop.remove_reader(pipe)
        tell(decoder.decode(chunk))

    def tell(text: str) -> None:
        if text:
            kept.add(text)
            output(text)

    loop.add_reader(pipe, drain)
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
        drain()
        tell(decoder.decode(b"", final=True))
        child.wait()
    finally:
        loop.remove_reader(pipe)
        loop.remove_reader(pidfd)
        os.close(pidfd)
        child.stdout.close()


class Kept:
    """The beginning and the end of a long output, in bounded memory."""

    def __init__(self) -> None:
        self._head = ""
        self._tail = ""
        self._lost = 0

    def add(self, text: str) -> None:
        room = MOST_KEPT // 2 - len(self._head)
        self._head += text[:room]
        self._tail += text[room:]
        if len(self._tail) > MOST_KEPT:
            self._lost += len(self._tail) - MOST_KEPT // 2
            self._tail = self._tail[-(MOST_KEPT // 2) :]

    def __str__(self) -> str:
        gap = f"\n[… {self._lost} characters left out …]\n" if self._lost else ""
        return shorten(self._head + gap + self._tail)


TOOL = ToolSpec(
    name="shell",
    description=(
        "Run a command with /bin/sh in the workspace and return its output and a failing exit code. "
        "Nothing is typed into it: it must not wait for input. Of the network only the sites that the "
        "person listed for you answer, by https and through the proxy that is set in HTTPS_PROXY, as "
        "curl, git and pip use it by themselves."
    ),
    parameters={
        "type": "object",
        "properties": {
            "command": {"type": "string", "description": "The command line."},
            "timeout": {
                "type": "number",
                "description": f"Seconds until it is ended, {DEFAULT_TIMEOUT:.0f} unless given, at most {LONGEST_TIMEOUT:.0f}.",
            },
        },
        "required": ["command"],
        "additionalProperties": False,
    },
    longest=LONGEST_TIMEOUT,
    run=run_shell,
)
