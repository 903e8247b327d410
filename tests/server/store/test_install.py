import os
import pwd

import pytest

from salver_server.clock import stamp
from salver_server.errors import NeedsUser
from salver_server.store import Database
from salver_server.store.install import install, set_stopped
from tests.fakes.clock import NOON


async def test_what_a_data_folder_is_is_decided_once(database: Database) -> None:
    first = await database.write(install)
    assert first.id.startswith("ins-")
    assert await database.write(install) == first


async def test_no_sandbox_runs_as_root(database: Database) -> None:
    found = await database.write(install)
    assert 0 not in (found.uid, found.gid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root chooses somebody else")
async def test_root_chooses_a_user_that_nobody_is(database: Database) -> None:
    found = await database.write(install)
    assert found.uid not in {entry.pw_uid for entry in pwd.getpwall()}
    assert found.gid == found.uid


@pytest.mark.skipif(os.geteuid() == 0, reason="root chooses somebody else")
async def test_a_user_s_sandboxes_run_as_that_user(database: Database) -> None:
    found = await database.write(install)
    assert (found.uid, found.gid) == (os.geteuid(), os.getegid())


async def test_another_user_s_folder_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await database.write(install)
    monkeypatch.setattr(os, "geteuid", lambda: found.uid + 1)
    with pytest.raises(NeedsUser, match="Start Salver as the user who made it"):
        await database.write(install)


async def test_that_everything_is_stopped_is_remembered(database: Database) -> None:
    await database.write(install)
    await database.write(lambda conn: set_stopped(conn, stamp(NOON)))
    assert (await database.write(install)).stopped_at == stamp(NOON)
    await database.write(lambda conn: set_stopped(conn, None))
    assert (await database.write(install)).stopped_at is None
