"""What of this machine goes into a sandbox."""

import os
import sys
from pathlib import Path

import pytest

from salver_server.runtimes import Identity
from salver_server.runtimes.process.machine import here, interpreter
from tests.fakes.yard import Yard

USR = Path("/usr")


def test_the_interpreter_and_its_library_can_be_seen_inside(yard: Yard) -> None:
    machine = here(yard.site)
    seen = (USR, *machine.trees)
    library = Path(os.__file__)
    for path in (machine.python, machine.python.resolve(), library, library.resolve()):
        assert any(path.is_relative_to(tree) for tree in seen)
    assert not any(tree.is_relative_to(USR) or tree in USR.parents for tree in machine.trees)


def test_a_virtual_environment_is_not_taken_for_the_interpreter() -> None:
    assert not interpreter().is_relative_to(sys.prefix) or sys.prefix == sys.base_prefix


def test_salver_as_one_frozen_file_takes_the_systems_python(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    machine = here(yard.site)
    assert machine.python.is_relative_to(USR)
    assert machine.trees == ()


def test_the_top_of_the_system_looks_as_it_does_outside(yard: Yard) -> None:
    machine = here(yard.site)
    for name, target in machine.links.items():
        assert Path("/", name).readlink() == Path(target)
    assert {"bin", "lib"} <= {*machine.links, *machine.folders}


def test_a_user_is_himself_inside_whatever_was_chosen(yard: Yard) -> None:
    machine = here(yard.site)
    chosen = yard.site.identity
    himself = Identity(uid=os.getuid(), gid=os.getgid())
    assert machine.identity == (chosen if os.geteuid() == 0 else himself)
