"""What every keychain promises; one suite, run over the fake one, the key file and a real gnome-keyring.

The real one runs in a session of its own: a private bus, home and runtime folder, so that nobody's own
keychain is ever touched.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from salver_server.secrets.keychain import Keychain
from salver_server.secrets.keyfile import KeyFile
from tests.contract.keychain_session import called
from tests.fakes.keychain import FakeKeychain

ROOT = Path(__file__).parents[2]
TAKES = 60.0

Talk = Callable[..., list[Any]]
"""Calls in words, each with its answer; see keychain_session.py."""

UNLOCKED = 'printf %s pass | gnome-keyring-daemon --unlock --components=secrets >&2; exec "$@"'
NEVER_UNLOCKED = 'exec "$@"'
LOCKED = (
    # A keyring that exists and is locked: made by one daemon, found by the next.
    "printf %s pass | gnome-keyring-daemon --unlock --components=secrets >&2;"
    ' "$1" "$2" "$3" set=item >&2; gnome-keyring-daemon --replace --components=secrets >&2; exec "$@"'
)

HELD_UP = (
    # The daemon stands still until something else is done with it.
    UNLOCKED.partition(";")[0]
    + '; "$1" "$2" "$3" set=item >&2; daemon=$(dbus-send --session --print-reply'
    " --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetConnectionUnixProcessID"
    " string:org.freedesktop.secrets | awk '/uint32/ {print $2}'); kill -STOP $daemon;"
    ' (sleep 1; kill -SIGNAL $daemon) & exec "$@"'
)
SLOW = HELD_UP.replace("SIGNAL", "CONT")
DYING = HELD_UP.replace("SIGNAL", "KILL")


class Session:
    """A private session in which programs find a keychain in this state, or no bus at all."""

    def __init__(self, folder: Path, script: str | None) -> None:
        self._folder = folder
        self._script = script

    def talk(self, *words: str) -> list[Any]:
        run = Path(self._folder) / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        program = [sys.executable, "-m", "tests.contract.keychain_session", *words]
        if self._script is not None:
            program = ["dbus-run-session", "--", "sh", "-c", self._script, "sh", *program]
        # No display: a prompt that nobody can see is dismissed at once.
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(self._folder),
            "XDG_DATA_HOME": str(self._folder / "data"),
            "XDG_RUNTIME_DIR": str(run),
        }
        done = subprocess.run(
            program,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TAKES,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(params=["fake", "file", "system"])
def talk(request: pytest.FixtureRequest, tmp_path: Path) -> Talk:
    match request.param:
        case "fake":
            return said_by(FakeKeychain())
        case "file":
            return said_by(KeyFile(tmp_path))
        case _:
            require_gnome_keyring()
            return Session(tmp_path, UNLOCKED).talk


def said_by(keychain: Keychain) -> Talk:
    return lambda *words: [called(keychain, word) for word in words]


def require_gnome_keyring() -> None:
    missing = [
        name for name in ("gnome-keyring-daemon", "dbus-run-session") if not shutil.which(name)
    ]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"{', '.join(missing)} is not installed; make setup does it")
    assert not missing, f"CI must have {missing}"


def test_an_empty_keychain_has_nothing(talk: Talk) -> None:
    assert talk("get") == [None]


def test_what_was_set_is_there_and_a_later_item_takes_its_place(talk: Talk) -> None:
    two = "A" * 44 + " " + "B" * 44
    answers = talk("set=first", "get", f"set={two}", "get", "get")
    assert answers == [None, "first", None, two, two]


def test_what_was_deleted_is_gone_and_deleting_nothing_is_harmless(talk: Talk) -> None:
    answers = talk("delete", "set=item", "delete", "get", "delete", "set=again", "get")
    assert answers == [None, None, None, None, None, None, "again"]


# What only the system's can be put into


@pytest.fixture
def home(tmp_path: Path) -> Path:
    require_gnome_keyring()
    return tmp_path


def test_each_data_folder_has_an_item_of_its_own(home: Path) -> None:
    answers = Session(home, UNLOCKED).talk(
        "set=mine", "other:set=other", "get", "other:delete", "get"
    )
    assert answers == [None, None, "mine", None, "mine"]


def test_an_item_outlives_the_session(home: Path) -> None:
    assert Session(home, UNLOCKED).talk("set=item") == [None]
    assert Session(home, UNLOCKED).talk("get") == ["item"]


def test_without_a_bus_there_is_no_keychain(home: Path) -> None:
    answers = Session(home, None).talk("get", "set=item", "delete")
    assert answers == [{"why": "absent", "reason": "no keychain answers"}] * 3


def test_a_keychain_that_was_never_unlocked_is_locked(home: Path) -> None:
    answers = Session(home, NEVER_UNLOCKED).talk("get", "set=item", "delete")
    assert [answer["why"] for answer in answers] == ["locked"] * 3


def test_a_locked_keychain_is_locked_and_keeps_its_item(home: Path) -> None:
    answers = Session(home, LOCKED).talk("get", "set=another", "delete")
    assert [answer["why"] for answer in answers] == ["locked"] * 3
    assert Session(home, UNLOCKED).talk("get") == ["item"]


def test_a_keychain_that_is_slow_is_waited_for(home: Path) -> None:
    assert Session(home, SLOW).talk("get") == ["item"]


def test_a_keychain_that_dies_over_a_call_says_so_and_keeps_its_item(home: Path) -> None:
    (answer,) = Session(home, DYING).talk("get")
    # The bus may have another one started by then, which nobody has unlocked.
    assert answer["why"] in ("refused", "locked")
    assert Session(home, UNLOCKED).talk("get") == ["item"]


def test_no_error_carries_the_item_along(home: Path) -> None:
    for script in (None, NEVER_UNLOCKED):
        assert "do-not-show" not in str(Session(home, script).talk("set=do-not-show"))


def test_no_backend_that_writes_plain_files_is_taken(home: Path) -> None:
    plain = home / ".config" / "python_keyring"
    plain.mkdir(parents=True)
    (plain / "keyringrc.cfg").write_text(
        "[backend]\ndefault-keyring=keyring.backends.null.Keyring\n"
    )
    assert Session(home, None).talk("set=item")[0]["why"] == "absent"


# What only a fake can be told to do, as a system would


@pytest.mark.parametrize("why", ["locked", "absent", "refused"])
def test_a_fake_that_fails_keeps_what_it_has(why: Any) -> None:
    fake = FakeKeychain()
    talk = said_by(fake)
    talk("set=item")
    fake.fail(why)
    assert [answer["why"] for answer in talk("get", "set=another", "delete")] == [why] * 3
    fake.fail(None)
    assert talk("get") == ["item"]
