"""A keychain for one house: a real gnome-keyring, unlocked, on a bus that nobody else knows."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.waiting import until

ASK = """\
import json, sys
from salver_server.ids import InstallId
from salver_server.secrets import SystemKeychain
item = SystemKeychain(InstallId(sys.argv[1])).get()
json.dump(None if item is None else item.reveal(), sys.stdout)
"""


@contextmanager
def keyring(folder: Path) -> Generator[dict[str, str]]:
    """The variables by which programs find it."""
    missing = [name for name in ("gnome-keyring-daemon", "dbus-daemon") if not shutil.which(name)]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"{', '.join(missing)} is not installed; make setup does it")
    assert not missing, f"CI must have {missing}"
    folder.mkdir(mode=0o700)
    # No display: a prompt that nobody can see is dismissed at once.
    session = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_RUNTIME_DIR": str(folder),
    }
    bus = folder / "bus"
    address = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}"}
    command = ["dbus-daemon", "--session", "--nofork", f"--address=unix:path={bus}"]
    with subprocess.Popen(command, env=session, stderr=subprocess.DEVNULL) as daemon:
        try:
            until(bus.exists, what=lambda: f"the bus ended with {daemon.poll()}")
            with _unlocked({**session, **address}):
                yield address
        finally:
            daemon.kill()


@contextmanager
def _unlocked(session: dict[str, str]) -> Generator[None]:
    command = ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"]
    with subprocess.Popen(
        command,
        env=session,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as daemon:
        try:
            assert daemon.stdin is not None
            assert daemon.stdout is not None
            daemon.stdin.write(b"pass")
            daemon.stdin.close()
            daemon.stdout.readline()  # it says where it is once it is there
            yield
        finally:
            daemon.kill()


def item(environment: dict[str, str], install: str) -> str | None:
    """What the keychain keeps for this install."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, install],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)
