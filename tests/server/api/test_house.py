import os
from pathlib import Path

from salver_server.app import open_house
from salver_server.settings import Settings
from tests.fakes.runtime import FAKE, NAME
from tests.server.api.conftest import House


async def test_health_says_that_the_server_answers(house: House) -> None:
    assert await house.ask("GET", "/health") == {"status": "ok"}


async def test_the_status_says_what_runs_and_what_waits(house: House) -> None:
    await house.say()
    found = await house.ask("GET", "/status")
    assert found == {
        "version": house.running.rooms.version,
        "pid": os.getpid(),
        "port": house.running.port,
        "home": str(house.running.rooms.settings.home),
        "started_at": house.clock.stamp(),
        "stopped": True,
        "runtimes": [
            {
                "name": "fake",
                "works": True,
                "reason": "A fake always works.",
                "fix": "",
                "held_by": {},
            }
        ],
        "sandboxes": 0,
        "most_sandboxes": 8,
        "keychain": {
            "state": "unasked",
            "advice": "Your keychain has not been asked yet; the first secret that is used will ask it.",
        },
        "running": 0,
        "waiting": 1,
    }


async def test_everything_is_stopped_and_resumed(house: House) -> None:
    assert await house.ask("POST", "/resume") == {"stopped": False}
    assert (await house.ask("GET", "/status"))["stopped"] is False
    assert await house.ask("POST", "/stop") == {"stopped": True, "left": 0}
    assert (await house.ask("GET", "/status"))["stopped"] is True


async def test_that_everything_is_stopped_outlives_a_restart(quick_path: Path) -> None:
    settings = Settings(home=quick_path / "home", runtime=NAME)
    for stopped in (False, True):
        async with open_house(settings, runtime_specs={NAME: FAKE}) as running:
            assert running.rooms.keeper.stopped is stopped
            await running.rooms.keeper.stop()
