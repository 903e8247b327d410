"""The folders of a session: what a sandbox sees of the computer, and whose they are."""

import hashlib
import os
import shutil
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from salver_server.ids import AgentName, SessionId
from salver_server.runtimes import Identity
from salver_server.settings import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Paths of one session. Only inbox, outbox, work, home and line are ever seen by its sandbox."""

    inbox: Path
    outbox: Path
    work: Path
    home: Path
    line: Path
    log: Path

    @property
    def inbound(self) -> Path:
        return self.inbox / "inbound.db"

    @property
    def files(self) -> Path:
        """A folder for each message that came with files."""
        return self.inbox / "files"

    @property
    def outbound(self) -> Path:
        return self.outbox / "outbound.db"

    @property
    def launch(self) -> Path:
        return self.inbox / "launch.json"

    @property
    def line_socket(self) -> Path:
        return self.line / "line"

    @property
    def gateway_socket(self) -> Path:
        return self.line / "gateway"


def outbound(places: Places, session: SessionId) -> Path:
    """The outbound.db of this session."""
    return places.sessions / session / "out" / "outbound.db"


def folders(places: Places, session: SessionId, agent: AgentName) -> Folders:
    """Where the folders of this session are; nothing is made."""
    own = places.sessions / session
    return Folders(
        inbox=own / "in",
        outbox=outbound(places, session).parent,
        work=places.agents / agent / "work",
        home=places.homes / session,
        line=places.lines / hashlib.sha256(session.encode()).hexdigest()[:12],
        log=places.logs / "sessions" / f"{session}.log",
    )


def make(found: Folders, identity: Identity) -> None:
    """Make what is missing, each folder 0700 and of the user that the sandbox runs as.

    A sandbox may have closed its own folders to itself; they are opened again.
    """
    found.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in (found.inbox, found.outbox, found.work, found.home, found.line):
        # Made top down, so that no folder above is left to the umask.
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        give(folder, identity)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            folder.chmod(mode | stat.S_IRWXU)


def give(path: Path, identity: Identity) -> None:
    """Hand a file or folder of ours to the sandbox's user; links are never followed."""
    found = path.lstat()
    if (found.st_uid, found.st_gid) != (identity.uid, identity.gid):
        os.chown(path, identity.uid, identity.gid, follow_symlinks=False)


MOST_ASIDE = 3
"""Untrusted folders of one session that are kept, the latest: a hostile runner could make any number."""


def set_aside(outbox: Path) -> Path:
    """Move an out/ folder that cannot be trusted away, for a person to look at; return where it is."""
    aside = outbox.with_name(f"out.aside-{time.time_ns()}")
    outbox.rename(aside)
    for older in sorted(outbox.parent.glob("out.aside-*"))[:-MOST_ASIDE]:
        # Not shutil's, which recurses and keeps a file open for each of the folders in one another.
        subprocess.run(["rm", "-rf", "--", older], capture_output=True, check=False)  # noqa: S603, S607 - our own words
    return aside


def remove(found: Folders) -> None:
    """Remove the sockets' folder of a session that no longer runs."""
    shutil.rmtree(found.line, ignore_errors=True)
