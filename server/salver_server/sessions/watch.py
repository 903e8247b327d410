"""Watching the out/ folders of live sessions with watchfiles: only ever "look", never what is new."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType] an optional import of its own is untyped

from salver_server.ids import SessionId

SETTLE = 0.05
"""Seconds over which changes of the set are gathered before the watcher is made anew."""
STEP = 50
"""Milliseconds between two looks of watchfiles at its queue: 0.07 % of a core, and 50 ms of delay."""
LONGEST_SILENCE = 60_000
"""Milliseconds after which watchfiles returns to Python although nothing happened."""


class Watch:
    def __init__(self, changed: Callable[[SessionId], None]) -> None:
        """`changed` is told of a session whose folder saw a change, and of each one after the set changed."""
        self._changed = changed
        self._folders: dict[str, SessionId] = {}
        self._set_changed = asyncio.Event()

    def add(self, folder: Path, session: SessionId) -> None:
        self._folders[str(folder)] = session
        self._set_changed.set()

    def drop(self, folder: Path) -> None:
        if self._folders.pop(str(folder), None) is not None:
            self._set_changed.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            while not self._folders:
                await self._set_changed.wait()
                self._set_changed.clear()
            await asyncio.sleep(SETTLE)
            self._set_changed.clear()
            folders, stop = self._present(), asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                turning = tasks.create_task(self._turn(stop), name="watch.turn")
                # Runs at the first wait, when the watcher stands: what came before it is seen so.
                tasks.create_task(self._look_once(folders), name="watch.look-once")
                with contextlib.suppress(FileNotFoundError):  # a folder went just now
                    await (self._follow(folders, stop) if folders else stop.wait())
                turning.cancel()

    def _present(self) -> dict[str, SessionId]:
        """A folder that is gone would leave all the others unwatched."""
        return {path: session for path, session in self._folders.items() if Path(path).is_dir()}

    async def _turn(self, stop: asyncio.Event) -> None:
        await self._set_changed.wait()
        stop.set()

    async def _look_once(self, folders: dict[str, SessionId]) -> None:
        for session in folders.values():
            self._changed(session)

    async def _follow(self, folders: dict[str, SessionId], stop: asyncio.Event) -> None:
        changes = awatch(
            *folders,
            watch_filter=None,
            debounce=STEP,
            step=STEP,
            rust_timeout=LONGEST_SILENCE,
            stop_event=stop,
            recursive=False,
        )
        async for found in changes:
            touched = {folders.get(str(Path(path).parent)) for _, path in found}
            for session in touched:
                if session is not None:
                    self._changed(session)
