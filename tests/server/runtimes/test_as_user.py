"""The tests of sandboxes once more, run by an ordinary user: another way to isolate, other limits.

Checkout and interpreter may lie in root's home, so he gets copies, and the system's own Python.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PYTHON = "/usr/bin/python3"
USER = "salver-tests"
NEEDED = ("pytest", "pytest-asyncio", "psutil", "pydantic")
SUITES = ("tests/contract/test_runtimes.py", "tests/server/runtimes")

SETTINGS = """
[pytest]
addopts = --import-mode=importlib --strict-markers -p pytest_asyncio -p no:cacheprovider
pythonpath = . server
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
markers =
    slow: as in pyproject.toml
    sandbox: as in pyproject.toml
"""

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else"),
]


def test_all_holds_for_an_ordinary_user_too(copy: Path) -> None:
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    done = subprocess.run(
        [*become, "--", PYTHON, "-m", "pytest", "-q", "--basetemp=tmp/t", *SUITES],
        cwd=copy,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(copy / "home"),
            "TMPDIR": str(copy / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(copy / "packages"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert passed, done.stdout
    assert int(passed[1]) > 50


@pytest.fixture
def copy() -> Iterator[Path]:
    if version() != sys.version_info[:2]:
        pytest.skip(f"{PYTHON} is another version than this Python: its packages would not fit")
    if subprocess.run(["id", USER], capture_output=True, check=False).returncode != 0:
        nowhere = ["--no-create-home", "--shell", "/usr/sbin/nologin"]
        subprocess.run(["useradd", "--system", "--user-group", *nowhere, USER], check=True)
    # Below /tmp itself: pytest's own folders are root's alone.
    with tempfile.TemporaryDirectory(prefix="salver-user-", dir="/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        for folder in ("server/salver_server", "tests/fakes", "tests/server/runtimes"):
            shutil.copytree(ROOT / folder, place / folder)
        for file in ("tests/__init__.py", "tests/contract/test_runtimes.py"):
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, place / file)
        (place / "pytest.ini").write_text(SETTINGS, encoding="utf-8")
        copy_packages(place / "packages")
        for folder in ("home", "tmp"):
            (place / folder).mkdir()
            shutil.chown(place / folder, USER, USER)
        yield place


def copy_packages(place: Path) -> None:
    for name in closure(*NEEDED):
        for file in distribution(name).files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (place / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), place / file)


def closure(*names: str) -> set[str]:
    """The packages and all that they need, as far as it's installed."""
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        ahead += [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in requires if "extra" not in line]
    return found


def version() -> tuple[int, ...]:
    said = subprocess.run(
        [PYTHON, "-c", "import sys; print(*sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(map(int, said.stdout.split()))
