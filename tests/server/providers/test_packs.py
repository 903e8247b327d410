import ast
import asyncio
import base64
import hashlib
import os
import re
import subprocess
import sys
import venv
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

import psutil
import pytest

from salver_server.errors import Missing, NeedsUser, SalverError, Transient
from salver_server.providers.packs import Packs
from tests.house.tree import ROOT

pytestmark = pytest.mark.slow


def wheel(folder: Path, name: str, source: str) -> Path:
    """A wheel of one module, as small as they come."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{file},sha256={_digest(text)},{len(text)}" for file, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,\n"])
    with ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(slots=True, kw_only=True)
class Shelf:
    """Locks whose packages lie in a folder instead of an index."""

    root: Path
    said: list[str] = field(default_factory=list[str])

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def made(self) -> list[str]:
        """What lies in the packs' folder, the lock file aside."""
        folder = self.root / "packs"
        return sorted(path.name for path in folder.iterdir() if path.name != ".lock")

    def lock(self, *packages: str, name: str = "tiny", digest: str = "") -> None:
        wheels = self.root / "wheels"
        wheels.mkdir(exist_ok=True)
        lines = ["--no-index", f"--find-links {wheels}"]
        for package in packages:
            found = wheel(wheels, package, f"NAME = {package!r}\n")
            lines.append(f"{package}==1.0 --hash=sha256:{digest or sha256(found)}")
        self.write(name, lines)

    def write(self, name: str, lines: list[str]) -> None:
        self.locks.mkdir(exist_ok=True)
        (self.locks / f"{name}.lock").write_text("\n".join([*lines, ""]), encoding="utf-8")

    def packs(self, *, python: Path | None = None) -> Packs:
        return Packs(self.root / "packs", locks=self.locks, python=python)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(root=tmp_path)


async def test_a_pack_is_made_once_and_can_be_imported(shelf: Shelf) -> None:
    shelf.lock("tiny_one", "tiny_two")
    packs = shelf.packs()
    place = await packs.ready("tiny", say=shelf.said.append)
    await asyncio.to_thread(imports, place, "tiny_one, tiny_two")
    assert shelf.said == [
        "Fetching tiny_one (1 of 2)",
        "Fetching tiny_two (2 of 2)",
        "Installing",
        "Ready",
    ]
    assert await packs.ready("tiny", say=shelf.said.append) == place
    assert len(shelf.said) == 4
    assert shelf.made == [place.name]


def imports(place: Path, names: str) -> None:
    check = f"import sys; sys.path.insert(0, sys.argv[1]); import {names}"
    subprocess.run([sys.executable, "-I", "-c", check, place], check=True)


async def test_a_pack_is_compiled_and_readable_by_others(shelf: Shelf) -> None:
    shelf.lock("tiny_one")
    before = os.umask(0o077)
    try:
        place = await shelf.packs().ready("tiny")
    finally:
        os.umask(before)
    assert list(found(place, "*.pyc")) != []
    for path in [place, *found(place, "*")]:
        wanted = 0o755 if path.is_dir() else 0o644
        assert path.stat().st_mode & wanted == wanted, path


def found(folder: Path, pattern: str) -> Iterator[Path]:
    return folder.rglob(pattern)


async def test_another_lock_means_another_pack(shelf: Shelf) -> None:
    packs = shelf.packs()
    shelf.lock("tiny_one")
    old = await packs.ready("tiny")
    shelf.lock("tiny_two")
    new = await packs.ready("tiny")
    assert shelf.made == sorted([old.name, new.name])


async def test_callers_at_the_same_time_share_one_build(shelf: Shelf) -> None:
    shelf.lock("tiny_one")
    packs = shelf.packs()
    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(packs.ready("tiny", say=shelf.said.append)) for _ in range(5)]
    assert len({call.result() for call in calls}) == 1
    assert shelf.said.count("Ready") == 1


async def test_processes_at_the_same_time_take_turns(shelf: Shelf) -> None:
    shelf.lock("tiny_one")
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):  # each with a lock of its own, like two processes
            tasks.create_task(shelf.packs().ready("tiny", say=shelf.said.append))
    assert shelf.said.count("Ready") == 1
    assert shelf.said.count("Waiting for another installation to end") == 1


async def test_a_package_that_is_not_the_locked_one_is_refused(shelf: Shelf) -> None:
    shelf.lock("tiny_one", digest="0" * 64)
    await refused(shelf, NeedsUser, "is not the one that Salver knows")


async def test_a_package_without_a_hash_is_refused(shelf: Shelf) -> None:
    shelf.lock("tiny_one")
    shelf.write("tiny", ["--no-index", f"--find-links {shelf.root / 'wheels'}", "tiny_one==1.0"])
    await refused(shelf, NeedsUser, "could not be installed")


async def test_a_package_that_would_run_code_to_install_is_refused(shelf: Shelf) -> None:
    source = shelf.root / "wheels" / "tiny_one-1.0.tar.gz"
    shelf.lock("tiny_two")
    source.write_bytes(b"")
    lines = ["--no-index", f"--find-links {source.parent}"]
    shelf.write("tiny", [*lines, f"tiny_one==1.0 --hash=sha256:{sha256(source)}"])
    await refused(shelf, NeedsUser, "do not exist for this computer")


async def test_without_a_network_one_is_told_to_connect(shelf: Shelf, unused_tcp_port: int) -> None:
    index = f"http://127.0.0.1:{unused_tcp_port}/simple"
    shelf.write("tiny", [f"--index-url {index}", f"tiny==1.0 --hash=sha256:{'0' * 64}"])
    await refused(shelf, Transient, "Connect to the internet")


async def refused(shelf: Shelf, kind: type[SalverError], words: str) -> None:
    with pytest.raises(kind, match=words):
        await shelf.packs().ready("tiny")
    assert shelf.made == []


def test_a_pack_without_a_lock_does_not_exist(shelf: Shelf) -> None:
    with pytest.raises(Missing, match="no lock for the pack 'tiny'"):
        shelf.packs().place("tiny")


async def test_an_environment_without_pip_gets_one_for_the_time(shelf: Shelf) -> None:
    shelf.lock("tiny_one")
    home = shelf.root / "bare"
    await asyncio.to_thread(venv.create, home, with_pip=False)
    packs = shelf.packs(python=home / "bin" / "python")
    place = await packs.ready("tiny", say=shelf.said.append)
    assert shelf.said[0] == "Preparing the installer"
    assert shelf.made == [place.name]


@dataclass(slots=True, kw_only=True)
class Stall:
    """A place that packages come from, which keeps everybody waiting until it is let go."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
async def stall(shelf: Shelf) -> AsyncGenerator[Stall]:
    shelf.lock("tiny_one")
    [package] = found(shelf.root / "wheels", "*.whl")
    stall, body = Stall(), await asyncio.to_thread(package.read_bytes)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        stall.asked.set()
        await stall.let_go.wait()
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{package.name}"
    shelf.write("tiny", [f"tiny_one @ {url} --hash=sha256:{hashlib.sha256(body).hexdigest()}"])
    yield stall
    stall.let_go.set()
    server.close()


async def test_a_build_that_is_called_off_leaves_nothing(shelf: Shelf, stall: Stall) -> None:
    async with asyncio.TaskGroup() as tasks:
        build = tasks.create_task(shelf.packs().ready("tiny"))
        await stall.asked.wait()
        installers = psutil.Process().children(recursive=True)
        build.cancel()
    assert shelf.made == []
    assert installers
    assert not any(installer.is_running() for installer in installers)


async def test_whoever_waits_takes_over_a_build_that_is_called_off(
    shelf: Shelf, stall: Stall
) -> None:
    packs = shelf.packs()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(packs.ready("tiny"))
        second = tasks.create_task(packs.ready("tiny"))
        await stall.asked.wait()
        first.cancel()
        stall.let_go.set()
    assert shelf.made == [second.result().name]


async def test_after_a_crash_in_the_middle_the_next_build_is_whole(
    shelf: Shelf, stall: Stall
) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path;"
        "from salver_server.providers.packs import Packs;"
        "asyncio.run(Packs(Path(sys.argv[1]), locks=Path(sys.argv[2])).ready('tiny'))"
    )
    crashing = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, shelf.root / "packs", shelf.locks
    )
    await stall.asked.wait()
    for process in [*psutil.Process(crashing.pid).children(), psutil.Process(crashing.pid)]:
        process.kill()
    await crashing.wait()
    assert [name for name in shelf.made if not name.startswith(".making-")] == []
    assert shelf.made != []
    stall.let_go.set()
    place = await shelf.packs().ready("tiny")
    assert shelf.made == [place.name]
    await asyncio.to_thread(imports, place, "tiny_one")


def test_the_real_lock_names_every_package_once_with_its_hashes() -> None:
    text = (ROOT / "container" / "pydantic-ai.lock").read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#")]
    entry = re.compile(r"([a-z0-9-]+)==[\w.+!]+( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+ *")
    assert [line for line in lines if not entry.fullmatch(line)] == []
    names = [line.partition("==")[0] for line in lines]
    assert sorted(set(names)) == sorted(names)
    assert {"pydantic-ai-slim", "openai", "httpx2"} <= set(names)


def test_the_real_lock_brings_all_that_its_provider_imports() -> None:
    text = (ROOT / "container" / "pydantic-ai.lock").read_text(encoding="utf-8")
    folder = ROOT / "container" / "salver_runner" / "providers" / "pydantic_ai"
    tops = {
        name.partition(".")[0]
        for path in found(folder, "*.py")
        for name in imported(path.read_text(encoding="utf-8"))
    }
    foreign = tops - sys.stdlib_module_names - {"salver_runner"}
    locked = {"pydantic_ai": "pydantic-ai-slim"}
    assert foreign
    assert [n for n in foreign if f"\n{locked.get(n, n)}==" not in text] == []


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module
            case _:
                pass
