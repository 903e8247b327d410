"""Why a sandbox didn't start, in words for people, and what to do about it."""

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path

from salver_server.errors import NeedsUser, Transient
from salver_server.runtimes.process import marks

OLDEST = "0.8"
SHORT = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT}
SHORT_IN_WORDS = ("ENOSPC", *(os.strerror(number) for number in sorted(SHORT)))

# Switches by which a system forbids user namespaces, the value that forbids and one that doesn't.
SWITCHES = {
    "user.max_user_namespaces": ("0", "15000"),
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
}
NAMESPACES = re.compile(r"namespace|userns|user ns|uid map|gid map|RTM_NEWADDR", re.IGNORECASE)
FORBIDDEN = re.compile(r"Operation not permitted|Permission denied")


class Refused(NeedsUser):
    """No sandbox can be made here; `reason` and `fix` are what the message is made of."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(f"{reason} {fix}")
        self.reason = reason
        self.fix = fix


def diagnosis(words: str, switches: Mapping[str, str]) -> NeedsUser | Transient:
    """From bubblewrap's own words, and from what the switches stand at."""
    said = _said(words)
    if not said:
        return Transient("bubblewrap was stopped before it had made the sandbox.")
    if "unknown option" in said.lower():
        return Refused(
            f"This bubblewrap is too old ({said}).", f"Install bubblewrap {OLDEST} or later."
        )
    if NAMESPACES.search(said):
        for name, (forbids, allows) in SWITCHES.items():
            if switches.get(name) == forbids:
                return Refused(
                    f"This system forbids sandboxes: {name} is {forbids} ({said}).",
                    f"Allow them with `sudo sysctl -w {name}={allows}`; "
                    f"a file in /etc/sysctl.d that says `{name}={allows}` keeps it so.",
                )
    if any(short in said for short in SHORT_IN_WORDS):
        return Transient(f"This machine is too busy to start a sandbox ({said}).")
    fix = "Put right what the message names."
    if FORBIDDEN.search(said) and NAMESPACES.search(said):
        fix = "In a container, allow it to make namespaces, or run agents with another runtime."
    return Refused(f"bubblewrap could not make a sandbox ({said}).", fix)


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
    files = {name: Path("/proc/sys", *name.split(".", 1)) for name in SWITCHES}
    return {
        name: file.read_text(encoding="ascii").strip()
        for name, file in files.items()
        if file.exists()
    }


def _said(words: str) -> str:
    """The last line, without who says it, and at a length for a sentence."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if not lines:
        return ""
    last = lines[-1].removeprefix("bwrap: ")
    if last.startswith(marks.PREFIX):
        last = last.rpartition("}: ")[2]
    return last[:200].rstrip(".")
