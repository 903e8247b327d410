import sys
from pathlib import Path

import pytest

from salver_runner import providers
from salver_runner.turn import Failed


@pytest.fixture(autouse=True)
def packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(providers, "PACKS", tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_a_provider_is_found_by_name() -> None:
    assert hasattr(providers.load("demo"), "turn")
    assert hasattr(providers.load("pydantic-ai"), "turn")


def test_a_providers_pack_comes_before_everything_else(packs: Path) -> None:
    (packs / "demo").mkdir()
    providers.load("demo")
    providers.load("demo")
    assert sys.path[0] == str(packs / "demo")
    assert sys.path.count(str(packs / "demo")) == 1


def test_a_provider_without_a_pack_changes_nothing() -> None:
    before = list(sys.path)
    providers.load("demo")
    assert sys.path == before


def test_an_unknown_provider_is_said_plainly() -> None:
    with pytest.raises(Failed, match="There is no provider 'oracle'"):
        providers.load("oracle")
