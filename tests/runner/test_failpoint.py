import os
import signal
import subprocess
import sys
from pathlib import Path

from salver_runner import failpoint

RUNNER = Path(failpoint.__file__).parents[1]
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from salver_runner.failpoint import arm, failpoint
arm("here", Path(sys.argv[2]))
failpoint("elsewhere")
print("passed", flush=True)
failpoint("here")
print("never", flush=True)
"""


def test_a_failpoint_that_nobody_armed_is_nothing() -> None:
    failpoint.failpoint("runner.before-claim")


def test_an_armed_failpoint_reports_and_stands_still_until_it_is_killed(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", PROGRAM, str(RUNNER), str(fifo)],
        stdout=subprocess.PIPE,
        text=True,
    ) as runner:
        assert fifo.read_text(encoding="utf-8") == "here\n"
        runner.kill()
        said, _ = runner.communicate()
    assert said == "passed\n"
    assert runner.returncode == -signal.SIGKILL
