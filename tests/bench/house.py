"""Real servers, each a process of its own over a data folder of its own, and none left behind."""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil

from salver_server.settings import Places, places
from tests.bench.talk import Talk

SALVER = Path(sys.executable).with_name("salver")
PATIENCE = 60.0
"""Seconds for a server to start, and to end."""
PR_SET_CHILD_SUBREAPER = 36


class House:
    """One server."""

    def __init__(self, home: Path, **settings: object) -> None:
        self.home = home
        self.places: Places = places(home)
        self._settings = {f"SALVER_{name.upper()}": str(value) for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    async def start(self) -> float:
        """Start it; seconds until it has answered its first request."""
        environment = {**os.environ, "SALVER_HOME": str(self.home), **self._settings}
        began = time.perf_counter()
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  a spawn takes a millisecond
                [SALVER, "serve"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the benchmark, which then ends its servers in order.
                start_new_session=True,
            )
        while True:
            with contextlib.suppress(OSError, EOFError):
                async with self.talk() as talk:
                    await talk.ask("GET", "/health")
                    return time.perf_counter() - began
            if self._process.poll() is not None or time.perf_counter() - began > PATIENCE:
                raise RuntimeError(f"the server did not start:\n{self.last_words()}")
            await asyncio.sleep(0.002)

    def last_words(self) -> str:
        return (self.home / "log").read_text(encoding="utf-8", errors="replace")[-3000:]

    @asynccontextmanager
    async def talk(self) -> AsyncGenerator[Talk]:
        """A kept connection to its API."""
        talk = await Talk.open(self.places.api_socket)
        try:
            yield talk
        finally:
            talk.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


class Yard:
    """Where houses are built; whatever lives there ends with it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._built = 0

    def home(self) -> Path:
        """A new, empty data folder."""
        self._built += 1
        home = self.place / f"house-{self._built}"
        home.mkdir()
        return home

    @asynccontextmanager
    async def house(self, home: Path | None = None, **settings: object) -> AsyncGenerator[House]:
        """A server that is ready, with these settings, over this data folder or a new one."""
        house = House(home or self.home(), **settings)
        try:
            await house.start()
            yield house
        finally:
            house.stop()


@contextmanager
def open_yard() -> Generator[Yard]:
    _adopt_orphans()
    for name in [name for name in os.environ if name.startswith(("SALVER_", "OPENAI_"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="salver-bench-", ignore_cleanup_errors=True) as place:
        yard = Yard(Path(place))
        try:
            yield yard
        finally:
            end_descendants()
            for home in yard.place.iterdir():
                shutil.rmtree(places(home).sockets, ignore_errors=True)


def end_descendants() -> None:
    """Kill what is left below this process, sandboxes of dead servers included."""
    while left := psutil.Process().children(recursive=True):
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(left, timeout=1)


def _adopt_orphans() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
