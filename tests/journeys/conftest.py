"""Houses for journeys: a server as a process of its own, with real sandboxes, and somebody to talk to."""

import asyncio
import re
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from salver_server.providers.packs import Packs
from salver_server.settings import container
from tests.crash import harness
from tests.crash.harness import House
from tests.journeys.providers import DEMO, Model, Provider, thinking
from tests.journeys.talk import Talk

BROKEN = re.compile(r"^Traceback|Warning: |never retrieved| ERROR ", re.MULTILINE)
"""What a server says only when something in it is wrong."""


@pytest.fixture(scope="session")
def pack(request: pytest.FixtureRequest) -> Path:
    """The packages of the real provider: installed as a server would, once, and kept for later runs."""
    cache = request.config.cache
    assert cache is not None
    packs = Packs(cache.mkdir("packs"), locks=container())
    return asyncio.run(packs.ready("pydantic-ai"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Generator[Model]:
    with thinking(tmp_path_factory.mktemp("model")) as model:
        yield model


@pytest.fixture(params=["demo", "pydantic-ai"])
def provider(request: pytest.FixtureRequest) -> Provider:
    if request.param == "demo":
        return DEMO
    model: Model = request.getfixturevalue("model")
    return model.provider


class Build(Protocol):
    def __call__(self, provider: Provider = DEMO, **environment: str) -> House: ...


@pytest.fixture
def build(tmp_path: Path, request: pytest.FixtureRequest) -> Generator[Build]:
    """Makes a house for a provider, these variables in its server's environment; nobody is in it yet."""
    with ExitStack() as stack:

        def build(provider: Provider = DEMO, **environment: str) -> House:
            home = stack.enter_context(harness.house(tmp_path))
            home.environment = {"PYTHONWARNINGS": "default", **environment}
            home.accounts = dict(provider.accounts)
            if provider is not DEMO:
                pack: Path = request.getfixturevalue("pack")
                (home.home / "packs").mkdir(mode=0o700)
                (home.home / "packs" / pack.name).symlink_to(pack)
            write_agent(home, "salver", provider.agent())
            stack.callback(said_nothing_wrong, home)
            return home

        yield build


def write_agent(home: House, name: str, text: str) -> None:
    """Write an agent's AGENT.md by hand."""
    folder = home.home / "agents" / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "AGENT.md").write_text(text, encoding="utf-8")


def lay(home: House, name: str, text: str) -> None:
    """Put a file into the workspace of a house that was not yet started."""
    work = home.home / "agents" / "salver" / "work"
    work.mkdir()
    (work / name).write_text(text, encoding="utf-8")


def said_nothing_wrong(home: House) -> None:
    assert not BROKEN.findall(home.log()), home.log()[-6000:]


@pytest.fixture
def house(build: Build) -> House:
    """A house whose agent is the demo provider's, running."""
    home = build()
    home.start()
    return home


@pytest.fixture
def home(build: Build, provider: Provider) -> House:
    """A house whose agent thinks with the provider, running."""
    home = build(provider)
    home.start()
    return home


@pytest.fixture
def talk(home: House) -> Talk:
    return Talk(home=home)
