"""Tries a real sandbox that does next to nothing, and says what holds its limits here."""

import logging
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from salver_server.errors import SalverError
from salver_server.ids import InstallId, SessionId
from salver_server.runtimes import Launch, Probe, Site
from salver_server.runtimes.process import logs
from salver_server.runtimes.process.command import Machine, around
from salver_server.runtimes.process.machine import here
from salver_server.runtimes.process.spawn import Means, spawn
from salver_server.runtimes.process.trouble import Refused

logger = logging.getLogger(__name__)

PATIENCE = 10.0
TRIAL = "import os, sqlite3, sys; sys.exit('root inside' if os.getuid() == 0 else 0)"
FOLDERS = ("in", "out", "work", "home", "line")


def tried(site: Site, means: Means) -> Probe:
    """Blocking, about 40 ms; never raises."""
    try:
        machine = here(site)
        _try(site, means, machine)
        version = _version(machine)
    except SalverError as exc:
        reason, fix = (
            (exc.reason, exc.fix) if isinstance(exc, Refused) else (str(exc), "Try again.")
        )
        return Probe(works=False, reason=reason, fix=fix)
    except Exception as exc:
        logger.exception("probe failed")
        return Probe(works=False, reason=f"The trial failed: {exc}.", fix="See the log.")
    return Probe(works=True, reason=f"bubblewrap {version}.", fix="", held_by=_held(means, machine))


def _try(site: Site, means: Means, machine: Machine) -> None:
    with tempfile.TemporaryDirectory(prefix="salver-probe-") as name:
        place = Path(name)
        for folder in FOLDERS:
            (place / folder).mkdir()
        if machine.by_root:
            os.chown(place / "work", machine.identity.uid, machine.identity.gid)
        launch = Launch(
            # Not the install's own, lest its list() shows a sandbox that nobody has started.
            install=InstallId(f"{site.install}.probe"),
            session=SessionId("probe"),
            generation=0,
            inbox=place / "in",
            outbox=place / "out",
            work=place / "work",
            home=place / "home",
            line=place / "line",
            log=place / "log",
        )
        trial = [str(machine.python), "-I", "-S", "-c", TRIAL]
        spawned = spawn(means, machine, launch, commander=partial(around, program=trial))
        spawned.let_go()
        ended = spawned.outer.is_dead(within=PATIENCE)
        code = spawned.outer.code() if ended else None
        spawned.discard()
        if code != 0:
            raise Refused(
                f"The runner's Python, {machine.python}, does not run inside a sandbox "
                f"({logs.since(launch.log, 0).strip()[-200:] or code}).",
                "Install Python where other programs can read it, such as the package python3.",
            )


def _version(machine: Machine) -> str:
    said = subprocess.run(  # noqa: S603  found by name; takes nothing from anyone
        [machine.bwrap, "--version"], capture_output=True, text=True, check=False, timeout=PATIENCE
    ).stdout
    found = re.search(r"\d[\d.]*", said)
    return found[0] if found else "of unknown version"


def _held(means: Means, machine: Machine) -> Mapping[str, str]:
    calls = "filter" if means.filter else f"no filter on {os.uname().machine}"
    namespaces = "filter" if machine.by_root else "bubblewrap"
    return {
        **means.plan.in_words(),
        "network": "network namespace",
        "system calls": calls,
        "user namespaces": namespaces if means.filter or not machine.by_root else "nothing",
    }
