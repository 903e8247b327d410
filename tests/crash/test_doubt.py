"""On a channel that cannot tell duplicates apart, a crash leaves a doubt, never a duplicate."""

import contextlib
import json
import socket
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.harness import House, house

POINTS = ("delivery.before-sending", "delivery.sending", "delivery.sent", "delivery.receipt")


@pytest.mark.slow
def test_a_crash_while_sending_leaves_a_doubt_and_never_a_duplicate(tmp_path: Path) -> None:
    with house(tmp_path) as home:
        home.program = (sys.executable, "-m", "tests.crash.paper")
        start(home, "")
        home.kill()
        for number, name in enumerate(POINTS * 2):
            home.arm_server()
            start(home, f"server:{name}")
            write(home, f"key-{number}", f"!say pong-{number}.")
            assert home.reported(name), home.log()[-3000:]
            home.kill()
            home.disarm()
            start(home, "")
            state = settled(home, f"key-{number}")
            written = Counter(json.loads(line)["text"] for line in lines(home))[f"pong-{number}."]
            expected = {
                "delivery.before-sending": ("delivered", 1),
                "delivery.sending": ("perhaps", 0),
                "delivery.sent": ("perhaps", 1),
                "delivery.receipt": ("delivered", 1),
            }
            assert (state, written) == expected[name]
            home.kill()


def start(home: House, failpoint: str) -> None:
    (home.home / "paper.ready").unlink(missing_ok=True)
    home.start(failpoint)
    until = time.monotonic() + 10
    while not (home.home / "paper.ready").exists():
        assert time.monotonic() < until, home.log()[-3000:]
        time.sleep(0.01)


def write(home: House, key: str, text: str) -> None:
    with socket.socket(socket.AF_UNIX) as desk:
        desk.settimeout(5)
        desk.connect(str(home.home / "paper.in"))
        desk.sendall(json.dumps({"key": key, "text": text}).encode() + b"\n")
        with contextlib.suppress(TimeoutError, ConnectionError):
            assert desk.recv(10) == b"ok\n"


def settled(home: House, key: str) -> str:
    """The state of the one delivery that answers this message, once it is decided."""
    until = time.monotonic() + 20
    while True:
        rows = home.rows(
            "SELECT d.state FROM deliveries d JOIN handovers h ON h.delivery = d.id"
            " JOIN intake i ON i.id = h.message WHERE i.key = ?",
            [key],
        )
        if rows and rows[0][0] not in ("waiting", "sending"):
            return rows[0][0]
        assert time.monotonic() < until, (rows, home.log()[-3000:])
        time.sleep(0.02)


def lines(home: House) -> list[str]:
    sheet = home.home / "paper.out"
    return sheet.read_text().splitlines() if sheet.exists() else []
