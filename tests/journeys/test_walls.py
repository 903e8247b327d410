"""What a sandbox never gets: the owner's key, a network, a way back into the server."""

import base64
import contextlib
import os
import socket
from collections.abc import Generator, Iterator
from pathlib import Path

import psutil
import pytest

from salver_server.runtimes.process.machine import interpreter
from salver_server.settings import places
from tests.crash.harness import House
from tests.journeys import inside
from tests.journeys.conftest import Build, lay
from tests.journeys.keyring import item, keyring
from tests.journeys.providers import DEMO, KEY, Model, Provider
from tests.journeys.talk import Talk

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

WRONG_KEY = "sk-journey-wrong-4be0c7712d9e"

# Patterns that don't match themselves, and something planted that the search has to find.
LOOK = """\
echo can''ary >/workspace/planted
grep -slE '[s]k-journey|[c]anary' /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/mountinfo
grep -rslE '[s]k-journey|[c]anary' /salver/in /salver/out /salver/home /salver/line /salver/source \
    /workspace /tmp /dev/shm /run /etc
true
"""

REACH = """\
import socket, sys
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    family = socket.AF_UNIX if not host else socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(2)
        try:
            sock.connect((host, int(port)) if host else port)
            print("reached", place)
        except OSError as exc:
            print("refused", place, type(exc).__name__)
"""


def test_the_key_is_nowhere_in_the_sandbox_nor_in_any_file(
    build: Build, provider: Provider
) -> None:
    home = build(provider)
    if provider is DEMO:
        home.accounts = {"openai": {"key": KEY}}
    lay(home, "look.sh", LOOK)
    home.start()
    talk = Talk(home=home)
    environment, planted = talk.run("PLANTED=can''ary sh look.sh")
    assert environment.startswith("/proc/")
    assert environment.endswith("/environ")
    assert planted == "/workspace/planted"
    master = (home.home / "secrets.key").read_text(encoding="ascii")
    search(home, talk, [KEY, *spellings(master)], kept_in=[home.home / "secrets.key"])


def test_with_a_keychain_the_key_and_the_one_that_seals_it_are_in_no_file_at_all(
    build: Build, model: Model, tmp_path: Path
) -> None:
    with keyring(tmp_path / "keyring") as environment:
        home = build(model.provider, **environment)
        home.start()
        talk = Talk(home=home)
        talk.ask("hello")
        assert home.ask("GET", "/keychain")["state"] == "ready"
        ((install,),) = home.rows("SELECT id FROM install")
        master = item(environment, install)
        assert master is not None
        search(home, talk, [KEY, *spellings(master)], kept_in=[])
        home.end()


def test_a_key_is_had_again_after_a_restart_and_each_use_is_on_record(
    build: Build, model: Model
) -> None:
    home = build(model.provider)
    home.start()
    talk = Talk(home=home)
    talk.ask("hello")
    talk.ask("hello again")
    assert home.end() == 0
    home.start()
    talk.ask("and now?")
    uses = home.ask("GET", "/keychain/uses")
    # One for each session start that made a call, however many calls it made.
    assert [(use["secret"], use["purpose"], use["session"]) for use in uses] == [
        ("provider.openai-compatible", "model calls", talk.session)
    ] * 2


def test_a_key_that_is_refused_is_quoted_to_nobody(build: Build, model: Model) -> None:
    home = build(model.provider)
    home.accounts["openai-compatible"] = {"base_url": model.url, "key": WRONG_KEY}
    home.start()
    talk = Talk(home=home)
    reason = talk.end(talk.say(ends=("failed",)))["reason"]
    assert "salver provider set openai-compatible" in reason
    for process in inside.everyone(talk.session):
        assert not whereabouts(process, WRONG_KEY)
    assert files_with(home, WRONG_KEY) == []


def search(home: House, talk: Talk, keys: list[str | bytes], *, kept_in: list[Path]) -> None:
    """Look for these in all that a sandbox has, and in all that was written, but for where they are kept."""
    for key in keys:
        for process in inside.everyone(talk.session):
            assert not whereabouts(process, key)
        assert [path for path in files_with(home, key) if path not in kept_in] == []
    # The search itself finds what is there.
    assert whereabouts(inside.everyone(talk.session)[0], talk.session)
    assert files_with(home, talk.session)


def spellings(master: str) -> Iterator[str | bytes]:
    """A master key as it is kept, and the bytes themselves."""
    for word in master.split():
        yield word
        yield base64.b64decode(word)


def whereabouts(process: psutil.Process, key: str | bytes) -> list[str]:
    """Where a process has the key: its environment, its command line, its memory."""
    key = key.encode() if isinstance(key, str) else key
    folder = Path("/proc", str(process.pid))
    found = [name for name in ("environ", "cmdline") if key in (folder / name).read_bytes()]
    # Nobody but root may look into the memory of a process that is not his child.
    if os.geteuid() == 0 and any(key in region for region in memory(process.pid)):
        found.append("memory")
    return found


def memory(pid: int) -> Iterator[bytes]:
    """What a process has written to memory, region by region."""
    maps = Path("/proc", str(pid), "maps").read_text(encoding="utf-8").splitlines()
    with Path("/proc", str(pid), "mem").open("rb", buffering=0) as file:
        for line in maps:
            span, permissions, *_ = line.split()
            start, end = (int(number, 16) for number in span.split("-"))
            if permissions.startswith("rw"):
                file.seek(start)
                with contextlib.suppress(OSError):
                    yield file.read(end - start)


def files_with(home: House, key: str | bytes) -> list[Path]:
    """Databases, logs, transcripts, workspaces, sockets' folders: whatever the house has written."""
    key = key.encode() if isinstance(key, str) else key
    folders = (home.home, places(home.home).sockets)
    files = [path for folder in folders for path in folder.rglob("*")]
    files.append(home.home.parent / "serve.log")
    return [path for path in files if path.is_file() and key in path.read_bytes()]


def test_a_sandbox_reaches_no_address_of_this_computer_and_no_door_of_the_server(
    build: Build, model: Model
) -> None:
    home = build()
    lay(home, "reach.py", REACH)
    home.start()
    talk = Talk(home=home)
    with listening() as door:
        open_here = [f"{host}:{door.getsockname()[1]}" for host in addresses()]
        assert len(open_here) >= 2
        doors = [
            *open_here,
            model.url.removeprefix("http://").removesuffix("/v1"),
            f"127.0.0.1:{home.ask('GET', '/status')['port']}",
            f":{places(home.home).api_socket}",
        ]
        lines = talk.run(f"{interpreter()} reach.py {' '.join(doors)}; ls /salver/line")
        with pytest.raises(BlockingIOError):
            door.accept()
    assert [line.split()[:2] for line in lines[: len(doors)]] == [
        ["refused", door] for door in doors
    ]
    assert lines[len(doors) :] == ["gateway", "line"]


@contextlib.contextmanager
def listening() -> Generator[socket.socket]:
    """A door that stands open on every address of this computer."""
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as door:
        door.setblocking(False)
        yield door


def addresses() -> list[str]:
    return [
        one.address
        for interface in psutil.net_if_addrs().values()
        for one in interface
        if one.family in (socket.AF_INET, socket.AF_INET6) and "%" not in one.address
    ]
