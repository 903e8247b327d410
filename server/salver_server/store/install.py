"""The install: what this data folder is, decided once."""

import os
import pwd
import secrets
from dataclasses import dataclass
from sqlite3 import Connection

from salver_server.clock import Stamp
from salver_server.errors import NeedsUser
from salver_server.ids import InstallId, mint

SANDBOX_UIDS = range(61500, 65000)
"""Where a server that runs as root looks for an unprivileged uid that nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    id: InstallId
    uid: int
    """Whom sandboxes run as; never 0."""
    gid: int
    stopped_at: Stamp | None


def install(conn: Connection) -> Install:
    """This data folder's install, made on first use; raises `NeedsUser` for another user's folder."""
    row = conn.execute("SELECT id, uid, gid, stopped_at FROM install").fetchone()
    if row is None:
        uid, gid = (_free_uid(), 0) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        row = (InstallId(mint("ins")), uid, gid or uid, None)
        conn.execute(
            "INSERT INTO install (one, id, uid, gid, stopped_at) VALUES (1, ?, ?, ?, ?)", row
        )
    found = Install(id=row[0], uid=row[1], gid=row[2], stopped_at=row[3])
    if os.geteuid() not in (0, found.uid):
        raise NeedsUser(
            f"This data folder belongs to an installation that runs sandboxes as uid {found.uid}, you are uid "
            f"{os.geteuid()}. Start Salver as the user who made it, or point SALVER_HOME at another folder."
        )
    return found


def set_stopped(conn: Connection, now: Stamp | None) -> None:
    """Store whether everything is stopped, and since when."""
    conn.execute("UPDATE install SET stopped_at = ?", (now,))


def _free_uid() -> int:
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    free = [uid for uid in SANDBOX_UIDS if uid not in taken]
    return secrets.choice(free)
