import json
from pathlib import Path
from typing import Any

import pytest

from salver_runner.launch import (
    PROTOCOL,
    Choice,
    Launch,
    Limits,
    Mismatch,
    Skill,
    Surroundings,
    read_launch,
)

RECORD: dict[str, Any] = {
    "protocol": PROTOCOL,
    "session": "ses-1",
    "generation": 3,
    "epoch": 7,
    "read": 12,
    "agent": "house",
    "provider": "demo",
    "models": [
        {"provider": "home", "wire": "chat", "model": "m", "window": 9, "sees": True, "later": 1}
    ],
    "instructions": "Be kind.",
    "token": "token",
    "limits": {"rounds": 50, "seconds": 900.0},
    "surroundings": {
        "base": "Speak German.",
        "skills": [{"name": "letters", "description": "How to write letters."}],
        "web": "listed",
        "memory_mb": 1024,
        "processes": 256,
        "disk_mb": 4096,
    },
    "attempts": {"4": 1},
    "failpoint": "",
}


def written(folder: Path, **changes: object) -> Path:
    path = folder / "launch.json"
    path.write_text(json.dumps(RECORD | changes), encoding="utf-8")
    return path


def test_a_launch_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_launch(written(tmp_path)) == Launch(
        session="ses-1",
        generation=3,
        epoch=7,
        read=12,
        agent="house",
        provider="demo",
        models=(Choice(provider="home", wire="chat", model="m", window=9, sees=True),),
        instructions="Be kind.",
        token="token",
        limits=Limits(rounds=50, seconds=900),
        surroundings=Surroundings(
            base="Speak German.",
            skills=(Skill(name="letters", description="How to write letters."),),
            web="listed",
            memory_mb=1024,
            processes=256,
            disk_mb=4096,
        ),
        attempts={4: 1},
        failpoint="",
    )


@pytest.mark.parametrize("protocol", [PROTOCOL - 1, PROTOCOL + 1])
def test_a_server_of_another_version_is_told_apart(tmp_path: Path, protocol: int) -> None:
    with pytest.raises(Mismatch, match=f"speaks version {protocol} of the bus, this runner"):
        read_launch(written(tmp_path, protocol=protocol))


def test_what_a_later_server_adds_to_the_record_does_no_harm(tmp_path: Path) -> None:
    assert read_launch(written(tmp_path, weather="fine")).session == "ses-1"
