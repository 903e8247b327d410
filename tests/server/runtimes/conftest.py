"""Sandboxes to try things in; whatever a test leaves alive is killed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from salver_server.runtimes import Runtime
from salver_server.runtimes.process import open_process
from tests.fakes.yard import Yard


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


@pytest.fixture
async def runtime(yard: Yard) -> AsyncIterator[Runtime]:
    """With all that this machine offers."""
    async with open_process(yard.site) as runtime:
        yield runtime
        await end_all(runtime)


@pytest.fixture
async def plain_runtime(yard: Yard) -> AsyncIterator[Runtime]:
    """As where no cgroup may be made."""
    async with open_process(yard.site, cgroups=False) as runtime:
        yield runtime
        await end_all(runtime)


async def end_all(runtime: Runtime) -> None:
    for mark in await runtime.list():
        if sandbox := await runtime.adopt(mark):
            await sandbox.kill()
