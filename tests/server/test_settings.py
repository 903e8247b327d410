import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from salver_server.errors import Rejected
from salver_server.settings import Settings, container, places, read_settings


def test_without_any_variable_everything_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/people/ann")
    found = read_settings()
    assert found == Settings(home=Path("/people/ann/.local/share/salver"))
    assert (found.runtime, found.most_sandboxes, found.doorbell) == ("process", 8, True)


def test_every_setting_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "SALVER_HOME": "/somewhere",
        "SALVER_RUNTIME": "docker",
        "SALVER_MOST_SANDBOXES": "3",
        "SALVER_IDLE": "1.5",
        "SALVER_STALL": "2",
        "SALVER_SWEEP": "3",
        "SALVER_DOORBELL": "false",
        "SALVER_WATCH": "0",
        "SALVER_BUDGET": "2.5",
        "SALVER_KEEP_FREE": "0",
        "SALVER_LARGEST_FILE": "1000",
        "SALVER_FAILPOINT": "server:intake",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = read_settings()
    assert (found.home, found.runtime, found.most_sandboxes) == (Path("/somewhere"), "docker", 3)
    assert (found.idle, found.stall, found.sweep) == (1.5, 2.0, 3.0)
    assert found.budget == 2.5
    assert (found.doorbell, found.watch, found.keep_free) == (False, False, 0)
    assert found.largest_file == 1000
    assert {field.upper() for field in Settings.__dataclass_fields__} == {
        name.removeprefix("SALVER_") for name in given
    }


def test_an_empty_variable_is_as_if_it_were_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_IDLE", "")
    assert read_settings().idle == 600


@dataclass(frozen=True, kw_only=True)
class Case:
    variable: str
    value: str


@pytest.mark.parametrize(
    "case",
    [
        Case(variable="SALVER_MOST_SANDBOXES", value="0"),
        Case(variable="SALVER_MOST_SANDBOXES", value="many"),
        Case(variable="SALVER_IDLE", value="-1"),
        Case(variable="SALVER_STALL", value="nan"),
        Case(variable="SALVER_SWEEP", value="soon"),
        Case(variable="SALVER_WATCH", value="perhaps"),
        Case(variable="SALVER_BUDGET", value="0"),
        Case(variable="SALVER_BUDGET", value="inf"),
        Case(variable="SALVER_KEEP_FREE", value="-1"),
    ],
    ids=lambda case: f"{case.variable}={case.value}",
)
def test_a_variable_that_can_not_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    monkeypatch.setenv(case.variable, case.value)
    with pytest.raises(Rejected, match=rf"^{case.variable} is not usable: .*Correct it or unset"):
        read_settings()


# Where things lie


def test_everything_lies_below_the_data_folder_but_the_sockets(tmp_path: Path) -> None:
    found = places(tmp_path)
    below = (found.database, found.prices, found.agents, found.sessions, found.homes, found.packs, found.logs, found.run, found.lock)  # fmt: skip
    assert all(path.is_relative_to(tmp_path) for path in below)
    assert not found.api_socket.is_relative_to(tmp_path)
    assert {found.api_socket.parent, found.lines.parent} == {found.sockets}


def test_sockets_lie_in_the_user_s_own_folder_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = os.environ["XDG_RUNTIME_DIR"]
    assert places(tmp_path).sockets.parent == Path(run)
    for useless in ("/nowhere", str(tmp_path / ("x" * 50)), ""):
        monkeypatch.setenv("XDG_RUNTIME_DIR", useless)
        found = places(tmp_path).sockets
        assert found.parent == Path("/tmp")
        assert str(os.getuid()) in found.name


def test_each_data_folder_has_sockets_of_its_own(tmp_path: Path) -> None:
    assert places(tmp_path / "one").sockets != places(tmp_path / "two").sockets
    assert places(tmp_path / "one").sockets == places(tmp_path / "one").sockets


def test_a_folder_is_the_same_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    expected = places(tmp_path / "data")
    assert places(Path("~/data")) == expected
    assert places(Path("data")) == expected
    assert places(tmp_path / "other" / ".." / "data") == expected
    (tmp_path / "link").symlink_to("data")
    assert places(tmp_path / "link") == expected


def test_an_address_of_a_socket_is_short_however_deep_the_folder_lies(tmp_path: Path) -> None:
    deep = tmp_path / "/".join(["a-rather-long-name"] * 50)
    assert len(bytes(places(deep).api_socket)) <= 70


def test_the_runner_s_source_is_found() -> None:
    assert (container() / "salver_runner" / "__main__.py").is_file()
