"""From bubblewrap's words to what a person should do."""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from salver_server.errors import NeedsUser, Transient
from salver_server.runtimes.process.trouble import Refused, diagnosis, shortage


@dataclass(frozen=True, kw_only=True)
class Case:
    id: str
    words: str
    switches: Mapping[str, str] = field(default_factory=dict[str, str])
    reason: str
    fix: str


# The words are bubblewrap's own, as versions 0.6 to 0.9 print them.
REFUSALS = [
    Case(
        id="no user namespaces at all",
        words="bwrap: Creating new namespace failed: nesting depth or "
        "/proc/sys/user/max_*_namespaces exceeded (ENOSPC)\n",
        switches={"user.max_user_namespaces": "0"},
        reason="user.max_user_namespaces is 0",
        fix="sudo sysctl -w user.max_user_namespaces=15000",
    ),
    Case(
        id="old Debian",
        words="bwrap: No permissions to create new namespace, likely because the kernel does not "
        "allow non-privileged user namespaces.\n",
        switches={"user.max_user_namespaces": "9", "kernel.unprivileged_userns_clone": "0"},
        reason="kernel.unprivileged_userns_clone is 0",
        fix="kernel.unprivileged_userns_clone=1",
    ),
    Case(
        id="Ubuntu 24.04",
        words="bwrap: setting up uid map: Permission denied\n",
        switches={"kernel.apparmor_restrict_unprivileged_userns": "1"},
        reason="kernel.apparmor_restrict_unprivileged_userns is 1",
        fix="kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    Case(
        id="a container without rights",
        words="bwrap: Creating new namespace failed: Operation not permitted\n",
        switches={"user.max_user_namespaces": "15000"},
        reason="Creating new namespace failed: Operation not permitted",
        fix="In a container",
    ),
    Case(
        id="too old",
        words="bwrap: Unknown option --disable-userns\n",
        reason="too old",
        fix="Install bubblewrap 0.8 or later.",
    ),
    Case(
        id="a folder that isn't there",
        words="Loading...\nbwrap: Can't find source path /data/home: No such file or directory\n",
        reason="Can't find source path /data/home",
        fix="what the message names",
    ),
    Case(
        id="a workspace of somebody else's",
        words='salver-sandbox:{"install":"x","folders":[]}: 1: cd: can\'t cd to /workspace\n',
        reason="(1: cd: can't cd to /workspace)",
        fix="what the message names",
    ),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.id)
def test_a_refusal_says_what_is_wrong_and_what_to_do(case: Case) -> None:
    found = diagnosis(case.words, case.switches)
    assert isinstance(found, Refused)
    assert case.reason in found.reason
    assert case.fix in found.fix
    assert str(found) == f"{found.reason} {found.fix}"


@pytest.mark.parametrize(
    "words",
    [
        "bwrap: Creating new namespace failed: Resource temporarily unavailable",
        "bwrap: unshare user ns: No space left on device",
        "bwrap: Can't fork: Cannot allocate memory",
        "",
    ],
)
def test_a_shortage_passes(words: str) -> None:
    assert isinstance(diagnosis(words, {"user.max_user_namespaces": "15000"}), Transient)


def test_our_own_failures_are_told_apart_too() -> None:
    assert isinstance(shortage(OSError(errno.EMFILE, "Too many open files")), Transient)
    gone = shortage(FileNotFoundError(errno.ENOENT, "No such file or directory", "/usr/bin/bwrap"))
    assert isinstance(gone, NeedsUser)
    assert "/usr/bin/bwrap" in str(gone)
