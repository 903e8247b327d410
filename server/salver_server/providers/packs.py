"""Packs: the packages that a provider's runner imports, made on first use from a lock with hashes.

A pack lies in a folder named after its lock and the Python that it is for. It is built aside and renamed
into place, so that a folder of that name is always whole: a crash leaves only what the next build
sweeps up. Builds of several processes take turns.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
import re
import shutil
import signal
import sys
import sysconfig
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from salver_server.errors import Missing, NeedsUser, SalverError, Transient

logger = logging.getLogger(__name__)

Say = Callable[[str], None]
"""Takes a short line about how far a build is."""

ASIDE = ".making-"
TURN = 0.2
"""Seconds between two looks whether another process has ended its build."""
FETCHING = ("--retries", "2", "--timeout", "15", "--progress-bar", "off")


class Packs:
    def __init__(self, folder: Path, *, locks: Path, python: Path | None = None) -> None:
        """`locks` is the folder that holds <name>.lock, beside the runner's source.

        `python` runs the runner; it is ours unless given, and of the same version in any case.
        """
        self._folder = folder
        self._locks = locks
        self._python = str(python or sys.executable)
        self._building: dict[Path, asyncio.Lock] = {}

    def place(self, name: str) -> Path:
        """Where the pack of this name lies once it is made; another lock means another place."""
        lock = self._lock(name).read_bytes()
        python = f"{sys.implementation.cache_tag} {sysconfig.get_platform()}"
        return self._folder / hashlib.sha256(lock + python.encode()).hexdigest()[:16]

    async def ready(self, name: str, *, say: Say = lambda _: None) -> Path:
        """The pack's folder, made now if it is not there yet.

        Raises `Transient` without a network and `NeedsUser` for what only a person can mend; then,
        and when cancelled, nothing half-made is left.
        """
        place = self.place(name)
        async with self._building.setdefault(place, asyncio.Lock()):
            if not _is_there(place):
                async with _alone(self._folder, say):
                    await self._make(name, place, say)
        return place

    def _lock(self, name: str) -> Path:
        lock = self._locks / f"{name}.lock"
        if not lock.is_file():
            raise Missing(f"This installation of Salver has no lock for the pack {name!r}.")
        return lock

    async def _make(self, name: str, place: Path, say: Say) -> None:
        if _is_there(place):
            return  # another process has made it meanwhile
        _sweep(self._folder)
        aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=self._folder))
        try:
            pip = await self._pip(aside, say)
            await _install(pip, self._lock(name), aside / "pack", name=name, say=say)
            await asyncio.to_thread(_put, aside / "pack", place)
        finally:
            await asyncio.to_thread(shutil.rmtree, aside, ignore_errors=True)
        say("Ready")
        logger.info("pack made", extra={"pack": name, "folder": str(place)})

    async def _pip(self, aside: Path, say: Say) -> list[str]:
        """A command that runs pip; the program's own environment may have none."""
        pip = [self._python, "-I", "-m", "pip"]
        code, _ = await _run([*pip, "--version"])
        if code == 0:
            return pip
        say("Preparing the installer")
        code, output = await _run([self._python, "-I", "-m", "venv", str(aside / "venv")])
        if code != 0:
            logger.warning("no pip to be had", extra={"output": output})
            raise NeedsUser(
                "This Python has no pip and cannot get one. Install its venv module (on Debian:"
                " sudo apt install python3-venv), then try again."
            )
        return [str(aside / "venv" / "bin" / "python"), "-I", "-m", "pip"]


async def _install(pip: list[str], lock: Path, target: Path, *, name: str, say: Say) -> None:
    total, done = _packages(lock), 0

    def follow(line: str) -> None:
        nonlocal done
        match line.split():
            case ["Collecting" | "Processing", package, *_]:
                done += 1
                short = re.split(r"==|-\d", package.rpartition("/")[2])[0]
                say(f"Fetching {short} ({done} of {total})")
            case ["Ignoring", *_]:
                done += 1  # not for this system
            case ["Installing", "collected", *_]:
                say("Installing")
            case _:
                pass

    where = ("--target", str(target), "--no-user", "--no-warn-script-location")
    what = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirement", str(lock))
    quiet = ("--no-input", "--no-color", "--disable-pip-version-check")
    code, output = await _run([*pip, "install", *what, *where, *quiet, *FETCHING], follow)
    if code != 0:
        logger.warning("a pack could not be made", extra={"pack": name, "output": output})
        raise _trouble(name, output)


def _packages(lock: Path) -> int:
    return len(re.findall(r"^[A-Za-z0-9]", lock.read_text(encoding="utf-8"), re.MULTILINE))


def _trouble(name: str, output: str) -> SalverError:
    """What pip said, as what to do now."""
    if "DO NOT MATCH THE HASHES" in output:
        return NeedsUser(
            f"A package for the provider {name!r} is not the one that Salver knows, so nothing was"
            " installed. Try again on another network; if it stays so, report it."
        )
    if "No space left" in output:
        return NeedsUser(
            f"The disk is full, so the packages for the provider {name!r} could not be installed."
            " Free some space, then try again."
        )
    if re.search(r"connection broken by|Connection|timed out|SSLError|ProxyError", output):
        return Transient(
            f"The packages for the provider {name!r} could not be fetched: the package index cannot"
            " be reached. Connect to the internet, then try again."
        )
    if "No matching distribution" in output:
        return NeedsUser(
            f"The packages for the provider {name!r} do not exist for this computer"
            f" ({sysconfig.get_platform()}, Python {sysconfig.get_python_version()})."
            " Choose another provider."
        )
    errors = [line for line in output.splitlines() if line.startswith("ERROR")]
    said = errors[-1] if errors else "pip failed without a word"
    return NeedsUser(
        f"The packages for the provider {name!r} could not be installed ({said}). The log has more."
    )


async def _run(command: list[str], follow: Say = lambda _: None) -> tuple[int, str]:
    """Exit code and last lines; `follow` hears each line. Cancelled, it leaves nothing running."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        umask=0o022,  # the sandbox's user is another one and has to read what is made here
        limit=1024 * 1024,
    )
    assert process.stdout is not None
    last = deque[str](maxlen=60)
    try:
        async for line in process.stdout:
            text = line.decode(errors="replace").strip()
            last.append(text)
            follow(text)
        return await process.wait(), "\n".join(last)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _put(made: Path, place: Path) -> None:
    # What a power cut may lose must not bear the name of a whole pack.
    os.sync()
    made.rename(place)


def _is_there(place: Path) -> bool:
    return place.is_dir()


def _sweep(folder: Path) -> None:
    for leftover in folder.glob(f"{ASIDE}*"):
        shutil.rmtree(leftover, ignore_errors=True)


@asynccontextmanager
async def _alone(folder: Path, say: Say) -> AsyncGenerator[None]:
    """Hold the folder against other processes; the system lets go of it for one that dies."""
    held = _hold(folder)
    if held is None:
        say("Waiting for another installation to end")
    while held is None:
        await asyncio.sleep(TURN)
        held = _hold(folder)
    with held:
        yield


def _hold(folder: Path) -> IO[str] | None:
    """The folder's lock, held until it is closed; None while another process holds it."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    file = (folder / ".lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
