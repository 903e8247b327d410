"""Why a sandbox didn't start, in words for people, and what to do about it."""

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path

from salver_server.errors import NeedsUser, Transient

OLDEST = "0.8"
SHORT = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT}
SHORT_IN_WORDS = tuple(os.strerror(number) for number in sorted(SHORT))

# Switches by which a system forbids user namespaces, with the value that forbids and the cure.
SWITCHES = {
    "user/max_user_namespaces": ("0", "sudo sysctl -w user.max_user_namespaces=15000"),
    "kernel/unprivileged_userns_clone": ("0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
}
NAMESPACES = re.compile(
    r"namespace|uid map|gid map|RTM_NEWADDR|disable.*userns|max_user_namespaces", re.IGNORECASE
)


class Refused(NeedsUser):
    """Bubblewrap can't make a sandbox here; `reason` and `fix` are what the message is made of."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(f"{reason} {fix}")
        self.reason = reason
        self.fix = fix


def diagnosis(words: str, switches: Mapping[str, str]) -> NeedsUser | Transient:
    """From bubblewrap's own words, and from what the switches stand at."""
    said = _said(words)
    if "unknown option" in words.lower():
        return Refused(
            f"This bubblewrap is too old ({said}).", f"Install bubblewrap {OLDEST} or later."
        )
    if NAMESPACES.search(words):
        for name, (forbids, cure) in SWITCHES.items():
            if switches.get(name) == forbids:
                return Refused(
                    f"This system forbids sandboxes: {name.replace('/', '.', 1)} is {forbids} ({said}).",
                    f"Allow them: `{cure}`, and the same line without `sudo sysctl -w` in "
                    "/etc/sysctl.d/60-salver.conf to keep it so.",
                )
    if any(short in words for short in SHORT_IN_WORDS):
        return Transient(f"This machine is too busy to start a sandbox ({said}).")
    if not said:
        return Transient("bubblewrap was stopped before it had made the sandbox.")
    return Refused(
        f"bubblewrap could not make a sandbox ({said}).",
        "Inside a container, run Salver with the docker runtime or allow nested user namespaces; "
        "else look for what the message names.",
    )


def shortage(exc: OSError) -> NeedsUser | Transient:
    """A failure of this server's own, while it prepared a sandbox."""
    if exc.errno in SHORT:
        return Transient(f"This machine is too busy to start a sandbox ({exc.strerror}).")
    what = f" {exc.filename}" if exc.filename else ""
    return Refused(
        f"A sandbox could not be started:{what} {exc.strerror}.",
        "Check that it exists and may be used.",
    )


def switches() -> dict[str, str]:
    """What those of `SWITCHES` that this system has stand at."""
    found = {name: Path("/proc/sys", name) for name in SWITCHES}
    return {
        name: file.read_text(encoding="ascii").strip()
        for name, file in found.items()
        if file.exists()
    }


def _said(words: str) -> str:
    """Its last line, without its name, and at a length for a sentence."""
    lines = [line.removeprefix("bwrap: ").strip() for line in words.splitlines() if line.strip()]
    return lines[-1][:200].rstrip(".") if lines else ""
