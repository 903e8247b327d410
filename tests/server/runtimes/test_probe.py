"""Whether sandboxes work here, and if not, why."""

import time
from pathlib import Path

import pytest

from salver_server.errors import NeedsUser
from salver_server.ids import SessionId
from salver_server.runtimes import Limits, Mark, Runtime
from salver_server.runtimes.process import open_process
from salver_server.runtimes.process.elsewhere import Elsewhere
from tests.fakes.yard import Yard

pytestmark = pytest.mark.sandbox


async def test_it_says_what_holds_every_limit(runtime: Runtime) -> None:
    probe = await runtime.probe()
    limits = set(Limits.__dataclass_fields__)
    assert limits <= set(probe.held_by)
    assert {"network", "system calls", "user namespaces"} <= set(probe.held_by)
    assert probe.reason.startswith("bubblewrap 0.") or probe.reason.startswith("bubblewrap 1.")


async def test_it_says_so_where_no_cgroup_may_be_made(plain_runtime: Runtime) -> None:
    held_by = (await plain_runtime.probe()).held_by
    assert held_by["memory"].startswith("watchdog")
    assert held_by["processes"] in ("user namespace", "watchdog")


async def test_it_is_quick_and_leaves_nothing(runtime: Runtime) -> None:
    took: list[float] = []
    for _ in range(3):
        began = time.perf_counter()
        await runtime.probe()
        took.append(time.perf_counter() - began)
        assert await runtime.list() == []
    assert min(took) < 0.5  # 0.03 on a machine that does nothing else


async def test_it_says_how_to_install_what_is_missing(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    probe = await runtime.probe()
    assert not probe.works
    assert "not installed" in probe.reason
    for command in ("sudo apt install", "sudo dnf install", "sudo pacman -S"):
        assert f"{command} bubblewrap" in probe.fix


async def test_a_filter_can_be_missing(yard: Yard) -> None:
    async with open_process(yard.site, filtered=False) as runtime:
        probe = await runtime.probe()
    assert probe.works
    assert probe.held_by["system calls"].startswith("no filter")


async def test_elsewhere_it_is_said_plainly(yard: Yard) -> None:
    elsewhere = Elsewhere()
    probe = await elsewhere.probe()
    assert (probe.works, "Linux" in probe.reason) == (False, True)
    assert probe.fix
    assert await elsewhere.list() == []
    with pytest.raises(NeedsUser, match="Linux"):
        await elsewhere.start(yard.launch(""))
    with pytest.raises(NeedsUser, match="s-1"):
        await elsewhere.adopt(
            Mark(runtime="process", session=SessionId("s-1"), generation=1, handle="")
        )
