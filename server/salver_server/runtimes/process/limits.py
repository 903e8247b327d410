"""Limits that each process of a sandbox carries, and which limit is held by what on this machine."""

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from salver_server.runtimes import Limits
from salver_server.runtimes.process.cgroups import Places

OPEN_FILES = 4096
CROWD = 4096
"""Processes of the sandboxes' user together, where nothing but our own counting tells them apart."""
COUNTED_BY_NAMESPACE = (5, 14)
"""The first kernel that counts a user's processes for each user namespace by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What holds the two limits that concern a whole sandbox; the watchdog steps in for the kernel."""

    memory: Literal["cgroup v1", "cgroup v2", "watchdog"]
    processes: Literal["cgroup v1", "cgroup v2", "user namespace", "watchdog"]

    def in_words(self) -> Mapping[str, str]:
        return {
            "memory": "watchdog, and a limit on each process"
            if self.memory == "watchdog"
            else self.memory,
            "processes": self.processes,
            "file": "limit on each process",
            "disk": "watchdog",
            "tmp": "size of the file system in memory",
        }


def plan(places: Places, *, own_namespace: bool, kernel: str) -> Plan:
    """`own_namespace`: whether each sandbox has a user namespace; `kernel`: as uname says."""
    group: Literal["cgroup v1", "cgroup v2"] = "cgroup v1" if places.version == 1 else "cgroup v2"
    return Plan(
        memory=group if places.memory else "watchdog",
        processes=group
        if places.processes
        else "user namespace"
        if own_namespace and _version(kernel) >= COUNTED_BY_NAMESPACE
        else "watchdog",
    )


def for_each_process(limits: Limits, plan: Plan, *, hard: Mapping[str, int]) -> Mapping[str, int]:
    """What `prlimit` inside is told; `hard` is what this server may not pass itself."""
    wanted = {"core": 0, "fsize": limits.file, "nofile": OPEN_FILES}
    if plan.processes == "user namespace":
        wanted["nproc"] = limits.processes
    elif plan.processes == "watchdog":
        wanted["nproc"] = max(CROWD, limits.processes)
    if plan.memory == "watchdog":
        # Not the address space: node and glibc's threads reserve many times what they ever touch.
        wanted["data"] = limits.memory
    return {name: min(most, hard.get(name, most)) for name, most in wanted.items()}


def hard() -> dict[str, int]:
    """The most that this process, and so whatever it starts, may have."""
    kinds = {
        "core": resource.RLIMIT_CORE,
        "fsize": resource.RLIMIT_FSIZE,
        "nofile": resource.RLIMIT_NOFILE,
        "nproc": resource.RLIMIT_NPROC,
        "data": resource.RLIMIT_DATA,
    }
    most = {name: resource.getrlimit(kind)[1] for name, kind in kinds.items()}
    return {name: value for name, value in most.items() if value != resource.RLIM_INFINITY}


def _version(kernel: str) -> tuple[int, ...]:
    return tuple(int(part) for part in kernel.split("-")[0].split(".")[:2] if part.isdigit())
