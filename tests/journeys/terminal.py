"""Somebody at a terminal: `salver` as a program of its own, with a real terminal or without one."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.crash.harness import House
from tests.journeys.waiting import PATIENCE

SALVER = str(Path(sys.executable).with_name("salver"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str


def salver(home: House, *words: str, stdin: str = "") -> Done:
    """Run a command to its end, without a terminal."""
    ended = subprocess.run(
        [SALVER, *words],
        env=environment(home),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Done(code=ended.returncode, out=ended.stdout, err=ended.stderr)


def environment(home: House) -> dict[str, str]:
    return {**os.environ, "SALVER_HOME": str(home.home), "TERM": "xterm"}


class Terminal:
    """A command that runs on a terminal, and what the terminal shows so far."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process = process
        self.shown = ""
        self._screen = screen

    def shows(self, text: str, *, within: float = PATIENCE) -> str:
        """Wait until the terminal shows this, and return all that it shows."""
        until = time.monotonic() + within
        while text not in self.shown:
            assert time.monotonic() < until, f"it never showed {text!r}: {self.shown!r}"
            assert self._read(until - time.monotonic()), (
                f"it ended without {text!r}: {self.shown!r}"
            )
        return self.shown

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def ends(self) -> int:
        """The exit code, once it has ended and all that it showed is read."""
        until = time.monotonic() + PATIENCE
        while self._read(until - time.monotonic()):
            assert time.monotonic() < until, f"it did not end: {self.shown!r}"
        return self.process.wait(timeout=PATIENCE)

    def _read(self, within: float) -> bool:
        """Take in what is there to see; false at the end."""
        if not select.select([self._screen], [], [], max(0.0, within))[0]:
            return True
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # how Linux says that nobody writes to a terminal any more
            data = b""
        self.shown += data.decode().replace("\r\n", "\n")
        return bool(data)


@contextmanager
def terminal(home: House, *words: str) -> Generator[Terminal]:
    """A command on a terminal of its own."""
    screen, keyboard = pty.openpty()
    try:
        with subprocess.Popen(
            [SALVER, *words],
            env=environment(home),
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            start_new_session=True,
        ) as process:
            os.close(keyboard)
            try:
                yield Terminal(process, screen)
            finally:
                process.kill()
    finally:
        os.close(screen)
