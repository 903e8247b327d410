from dataclasses import dataclass, field
from pathlib import Path

import pytest

from salver_runner.tools import Handed
from salver_runner.workspace.seen import Seen


@dataclass(slots=True)
class Runner:
    """What tools are handed by one runner, and what it has sent."""

    seen: Seen = field(default_factory=Seen)
    sent: list[str] = field(default_factory=list[str])

    @property
    def handed(self) -> Handed:
        return Handed(output=lambda _: None, send=self.sent.append, seen=self.seen)


@pytest.fixture
def runner() -> Runner:
    return Runner()


@pytest.fixture
def handed(runner: Runner) -> Handed:
    return runner.handed


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that this process works in, as a runner does."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
