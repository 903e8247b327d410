"""A place where runtimes are tried: one install with its folders, and scripts posing as runners."""

import asyncio
import hashlib
import json
import os
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from salver_server.ids import InstallId, SessionId
from salver_server.runtimes import Identity, Launch, Limits, Site

PROBE_RUNNER: Final = Path(__file__).parent / "probe_runner"
SOMEBODY: Final = 54321
"""Whom sandboxes run as where the tests are run by root; nobody on this machine."""
PATIENCE = 20.0


class Yard:
    """One install below a folder. As root its writable folders belong to `SOMEBODY`."""

    def __init__(self, place: Path, *, install: str = "yard") -> None:
        self.place = place / install
        self.place.mkdir(exist_ok=True)
        by_root = os.geteuid() == 0
        uid, gid = (SOMEBODY, SOMEBODY) if by_root else (os.getuid(), os.getgid())
        # Sandboxes are found machine-wide: tests that run beside these have installs of their own.
        name = f"{install}-{hashlib.sha256(bytes(self.place)).hexdigest()[:8]}"
        self.site = Site(
            install=InstallId(name),
            identity=Identity(uid=uid, gid=gid),
            source=PROBE_RUNNER,
        )

    def launch(
        self,
        script: str,
        *,
        session: str = "s-1",
        generation: int = 1,
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
        packs: Mapping[str, Path] | None = None,
        skills: Mapping[str, Path] | None = None,
    ) -> Launch:
        """The launch of a session whose runner does what the script says."""
        place = self.place / session
        for name in ("in", "out", "work", "home", "line"):
            (place / name).mkdir(parents=True, exist_ok=True)
            if name != "in" and os.geteuid() == 0:
                os.chown(place / name, self.site.identity.uid, self.site.identity.gid)
        (place / "in" / "script.py").write_text(textwrap.dedent(script), encoding="utf-8")
        (place / "out" / "report.json").unlink(missing_ok=True)
        return Launch(
            install=self.site.install,
            session=SessionId(session),
            generation=generation,
            inbox=place / "in",
            outbox=place / "out",
            work=place / "work",
            home=place / "home",
            line=place / "line",
            log=place / "launch.log",
            limits=limits or Limits(),
            environment=environment or {},
            packs=packs or {},
            skills=skills or {},
        )


async def report(launch: Launch) -> dict[str, Any]:
    """What the script has reported, as soon as it has."""
    file = launch.outbox / "report.json"
    await until(file.exists, what=lambda: launch.log.read_text(encoding="utf-8"))
    return json.loads(file.read_text(encoding="utf-8"))


async def until(true: Callable[[], bool], *, what: Callable[[], object] = str) -> None:
    """Wait for another process to have brought something about."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not true():  # noqa: ASYNC110  no event reaches us from there
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"it never came to be: {what()}") from None
