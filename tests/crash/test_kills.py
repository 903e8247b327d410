"""Kill the server or the runner at every named failpoint; nothing is lost, nothing is answered twice.

The order of the rounds comes from a seed, which a failure names: `KILL_SEED=… pytest …` runs the
same rounds again.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.harness import House, house

SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
ROUNDS = int(os.environ.get("KILL_ROUNDS", "7"))
"""How often each failpoint of the server is hit; the runner's, one less."""
CHECK_EVERY = 8
"""Kills of the server in a row before everything is verified."""


def a_message(home: House) -> None:
    home.send_unwaited("")


def a_message_with_a_file(home: House) -> None:
    home.send_unwaited("", files=(home.upload("a.txt"), home.upload("a.txt")))


def a_message_that_asks_for_a_file(home: House) -> None:
    home.send_unwaited("!shell echo hello > hello.txt\n!sendfile hello.txt")


def a_message_for_a_cold_session(home: House) -> None:
    home.send_unwaited("", new=True)


def a_sandbox_that_dies(home: House) -> None:
    # One that is killed while it is being started ends without a burial: then another one has to die.
    for _ in range(10):
        home.send_unwaited("")
        if home.reports(within=0) or (home.wait_for_sandbox() and home.reports(within=0)):
            return
        home.kill_sandboxes()
        if home.reports(within=2):
            return


def a_message_for_when_the_agent_is_free(home: House) -> None:
    home.send_unwaited("!slow 1")
    home.send_unwaited("", when="free")


SERVER: dict[str, Callable[[House], None]] = {
    "intake.before-commit": a_message,
    "intake.files-placed": a_message_with_a_file,
    "intake.in-commit": a_message,
    "intake.after-commit": a_message,
    "inbox.before-hand-over": a_message,
    "inbox.in-hand-over": a_message,
    "inbox.after-hand-over": a_message,
    "inbox.queued": a_message,
    "keeper.before-generation": a_message_for_a_cold_session,
    "keeper.before-start": a_message_for_a_cold_session,
    "keeper.after-start": a_message_for_a_cold_session,
    "keeper.before-burial": a_sandbox_that_dies,
    "keeper.after-burial": a_sandbox_that_dies,
    "queue.in-release": a_message_for_when_the_agent_is_free,
    "outbox.files-taken": a_message_that_asks_for_a_file,
    "outbox.before-advance": a_message,
    "outbox.in-advance": a_message,
    "outbox.after-advance": a_message,
    "delivery.before-sending": a_message,
    "delivery.sent": a_message,
    "delivery.receipt": a_message,
}
"""Failpoint of the server to what brings it there."""

RUNNER: dict[str, str] = {
    "runner.create": "",
    "runner.before-claim": "",
    "runner.in-claim": "",
    "runner.after-claim": "",
    "runner.in-send": "!send on my way",
    "runner.after-send": "!send on my way",
    "runner.in-tool": "!shell true",
    "runner.after-tool": "!shell true",
    "runner.before-close": "",
    "runner.in-close": "",
    "runner.after-close": "",
    "runner.rung": "",
    "runner.in-control": "!slow 20",
    "runner.in-reset": "",
    "runner.after-reset": "",
}
"""Failpoint of the runner to the orders of a message that brings it there."""


@pytest.mark.slow
def test_the_server_may_be_killed_anywhere(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    schedule = list(SERVER) * ROUNDS
    dice.shuffle(schedule)
    with house(tmp_path) as home:
        for number, name in enumerate(schedule):
            say_which(number, name)
            home.arm_server()
            if SERVER[name] is a_message_for_a_cold_session:
                home.kill_sandboxes()
            home.start(f"server:{name}")
            if not home.reported(name, within=0):
                SERVER[name](home)
                assert home.reported(name), (
                    f"{name} was never reached (seed {SEED})\n{home.log()[-4000:]}"
                )
            home.kill()
            if number % CHECK_EVERY == CHECK_EVERY - 1 or number == len(schedule) - 1:
                check(home)
        assert home.kills >= len(schedule)


@pytest.mark.slow
def test_the_runner_may_be_killed_anywhere(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    schedule = list(RUNNER) * max(1, ROUNDS - 1)
    dice.shuffle(schedule)
    with house(tmp_path) as home:
        home.start()
        session = home.ask("GET", f"/messages/{home.send('').id}")["session"]
        home.settle()
        home.kill()
        for number, name in enumerate(schedule):
            say_which(number, name)
            home.kill_sandboxes()
            if name == "runner.create":
                # As after a file that could not be trusted: the next runner makes a new one.
                home.put_outbound_aside(session)
            home.arm_runner(session)
            home.start(f"runner:{name}")
            bring_runner_to(home, name)
            assert home.reported(name), (
                f"{name} was never reached (seed {SEED})\n{home.log()[-4000:]}"
            )
            home.kill()
            home.kill_sandboxes()
            check(home)
        assert home.kills >= len(schedule)


def bring_runner_to(home: House, name: str) -> None:
    if name.endswith("-reset"):
        home.ask("POST", "/messages", json={"text": "/clear"})
    if name != "runner.in-control":
        home.send(RUNNER[name])
        return
    sent = home.send(RUNNER[name], ends=("stopped",))
    home.wait_for(sent, "running")
    home.ask("POST", f"/sessions/{home.ask_after(sent)['session']}/stop")


def check(home: House) -> None:
    """A start without a failpoint answers all that is owed, each once."""
    home.disarm()
    home.start()
    home.settle()
    home.verify()
    home.kill()


def say_which(number: int, name: str) -> None:
    # Shown by pytest when the test fails: together with the seed it leads back here.
    print(f"seed {SEED} round {number}: {name}")  # noqa: T201 pytest shows it with a failure
