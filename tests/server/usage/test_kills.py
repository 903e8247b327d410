"""Killed at any statement, no call that went out is missing, and none is counted twice."""

import shutil
from itertools import count
from pathlib import Path

import pytest

from salver_server.store import open_database
from salver_server.usage.days import Day
from salver_server.usage.views import Asked, Sums, total
from tests.server.killing import killed
from tests.server.usage.conftest import PRICED, ledger

FEWEST_STEPS = 10
RESERVED, TOOK = 120_000, 20_000
"""Millionths of a dollar, of each call of the child."""


@pytest.mark.slow
async def test_a_server_that_is_killed_in_mid_call_loses_no_money(
    quick_path: Path, migrated: Path
) -> None:
    for steps in count():
        home = quick_path / f"{steps}"
        home.mkdir()
        shutil.copy(migrated, home / "salver.db")
        (home / "prices.toml").write_text(PRICED, encoding="utf-8")
        was_killed, said = killed("tests.server.usage.kill_child", home, f"{steps}")
        begun, ended = "begun" in said, "ended" in said
        for sums in (await settled(home), await settled(home)):
            assert sums.running == 0
            assert begun <= sums.calls <= 1
            assert sums.calls - sums.untold >= ended
            assert sums.cost == sums.untold * RESERVED + (sums.calls - sums.untold) * TOOK
        shutil.rmtree(home)
        if not was_killed:
            assert ended
            assert steps >= FEWEST_STEPS, "it was hardly killed at all"
            return


async def settled(home: Path) -> Sums:
    """All that is on record once the next server has started."""
    async with open_database(home / "salver.db") as database:
        await ledger(home, database).open()
        asked = Asked(since=Day("0000"), until=Day("9999"))
        by_day, by_call = await database.read(
            lambda conn: (total(conn, "day", asked), total(conn, "call", asked))
        )
        assert by_day == by_call
        return by_day
