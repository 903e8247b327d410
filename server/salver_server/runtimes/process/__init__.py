"""Runners in bubblewrap sandboxes, on Linux: always at hand, no engine, no image, no network."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from salver_server.runtimes import Runtime, RuntimeSpec, Site


@asynccontextmanager
async def open_process(
    site: Site, *, cgroups: bool = True, filtered: bool = True
) -> AsyncGenerator[Runtime]:
    """`cgroups` and `filtered` off: as on a machine without writable cgroups, or without our filter."""
    if sys.platform != "linux":
        from salver_server.runtimes.process.elsewhere import Elsewhere

        yield Elsewhere()
        return
    # What it needs of the system exists on Linux alone, and the spec must be readable anywhere.
    from salver_server.runtimes.process.runtime import opened

    async with opened(site, cgroups=cgroups, filtered=filtered) as runtime:
        yield runtime


RUNTIME = RuntimeSpec(name="process", title="Sandboxed process", open=open_process)
