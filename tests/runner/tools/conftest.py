from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from salver_runner.tools import Handed
from salver_runner.web import Web
from salver_runner.workspace.outgoing import Sent
from salver_runner.workspace.seen import Seen
from tests.runner.bus import NO_WEB


@dataclass(slots=True, kw_only=True)
class Runner:
    """What tools are handed by one runner, and what it has sent."""

    seen: Seen = field(default_factory=Seen)
    outgoing: Path
    sent: list[str] = field(default_factory=list[str])
    files: list[Sent] = field(default_factory=list[Sent])
    web: Web = NO_WEB

    @property
    def handed(self) -> Handed:
        return Handed(
            output=lambda _: None,
            send=self.send,
            outgoing=self.outgoing,
            seen=self.seen,
            web=self.web,
        )

    def send(self, text: str, files: Sequence[Sent] = ()) -> None:
        self.sent.append(text)
        self.files += files


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    (tmp_path / "out").mkdir()
    return Runner(outgoing=tmp_path / "out" / "files")


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
