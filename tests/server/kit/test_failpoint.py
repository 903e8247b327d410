import os
import signal
import subprocess
import sys
from pathlib import Path

from salver_server.kit.failpoint import failpoint

PROGRAM = """
import pathlib, sys
from salver_server.kit.failpoint import arm, failpoint
arm("here", pathlib.Path(sys.argv[1]))
failpoint("elsewhere")
print("passed elsewhere", flush=True)
failpoint("here")
print("passed here", flush=True)
"""


def test_without_arms_a_failpoint_lets_everybody_pass() -> None:
    failpoint("here")


def test_an_armed_failpoint_reports_and_stands_still_until_it_is_killed(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(fifo)], stdout=subprocess.PIPE
    ) as program:
        assert fifo.read_text() == "here\n"
        program.send_signal(signal.SIGKILL)
        assert program.stdout is not None
        assert program.stdout.read() == b"passed elsewhere\n"
