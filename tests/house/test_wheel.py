"""The wheel is the whole program: command, server, desktop, and the runner as data."""

import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.house.tree import DESKTOP, ROOT, SERVER

CONTAINER = ROOT / "container"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [path] = folder.glob("*.whl")
    with ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_all_of_the_packages(wheel: ZipFile) -> None:
    packages = {
        f"{package.name}/{path}" for package in (SERVER, DESKTOP) for path in files(package)
    }
    runner = {f"salver_server/_runner/{path}" for path in files(CONTAINER)}
    data = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert data == packages | runner


def test_the_wheel_brings_the_command(wheel: ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    points = ConfigParser()
    points.read_string(wheel.read(name).decode())
    assert dict(points["console_scripts"]) == {"salver": "salver_server.__main__:main"}


def files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix()
