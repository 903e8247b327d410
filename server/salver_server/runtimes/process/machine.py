"""What this machine offers to a sandbox: bubblewrap, an interpreter, the layout of its system."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from salver_server.runtimes import Identity, Site
from salver_server.runtimes.process.command import ETC, PRLIMIT, SETPRIV, TOP, Machine
from salver_server.runtimes.process.limits import hard
from salver_server.runtimes.process.trouble import Refused

INSTALL = (
    "Install bubblewrap: `sudo apt install bubblewrap` (Debian, Ubuntu), "
    "`sudo dnf install bubblewrap` (Fedora) or `sudo pacman -S bubblewrap` (Arch)."
)
USR = Path("/usr")


def here(site: Site) -> Machine:
    """Raises `Refused` when something is missing."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise Refused("bubblewrap is not installed.", INSTALL)
    by_root = os.geteuid() == 0
    if by_root and site.identity.uid == 0:
        raise Refused(
            "Sandboxes would run as root.",
            "Choose an ordinary user for them, or run Salver as one.",
        )
    for tool in (PRLIMIT, SETPRIV) if by_root else (PRLIMIT,):
        if not Path(tool).exists():
            raise Refused(f"{tool} is missing.", "Install the package util-linux.")
    python = interpreter()
    tops = {name: Path("/", name) for name in TOP}
    return Machine(
        bwrap=Path(bwrap),
        python=python,
        trees=tuple(dict.fromkeys(_homes(python))),
        links={name: str(top.readlink()) for name, top in tops.items() if top.is_symlink()},
        folders=[name for name, top in tops.items() if top.is_dir() and not top.is_symlink()],
        etc=[name for name in ETC if Path("/etc", name).exists()],
        by_root=by_root,
        # A user namespace maps nobody but the server's own user.
        identity=site.identity if by_root else Identity(uid=os.getuid(), gid=os.getgid()),
        source=site.source,
        hard=hard(),
    )


def interpreter() -> Path:
    """The Python that this server itself runs under, or the system's where Salver is one frozen file."""
    own = None if _frozen() else getattr(sys, "_base_executable", None)
    found = own or shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if not found:
        raise Refused("There is no Python for runners.", "Install the package python3.")
    return Path(found)


def _homes(python: Path) -> Iterator[Path]:
    """Where the interpreter and its library lie, unless that's below /usr, which is there anyway."""
    prefixes = [python.parent.parent, python.resolve().parent.parent]
    if not _frozen():
        prefixes += [Path(sys.base_prefix), Path(sys.base_prefix).resolve()]
    for prefix in prefixes:
        if not prefix.is_relative_to(USR) and prefix not in USR.parents:
            yield prefix


def _frozen() -> bool:
    return bool(getattr(sys, "frozen", False))
