"""How much of the disk folders take. They're a sandbox's own, so nothing in them is trusted.

No link is followed, no other file system entered; what this process may not enter or finds too
deep is measured by `du`, in a user namespace where the owner may look into everything he owns.
"""

import os
import stat
import subprocess
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

ENTRY = 4096
"""Bytes that any entry counts for at least: directories fill a disk too, and the walk must end."""
DEEPEST = 100
"""Folders in one another; each one open costs a file descriptor."""
ENTERING = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
PATIENCE = 60.0


class TooDeep(Exception):
    """Folders in one another beyond `DEEPEST`."""


def used(folders: Sequence[Path], *, enough: int) -> int:
    """Bytes on disk; stops counting once past `enough`. Blocking, for long if there's much."""
    counted = 0
    hard: list[Path] = []
    links: set[tuple[int, int]] = set()
    for folder in folders:
        before = counted
        try:
            with closing(_walk(folder)) as entries:
                for entry in entries:
                    counted += _size(entry, links)
                    if counted > enough:
                        return counted
        except FileNotFoundError:
            continue
        except (PermissionError, TooDeep):
            counted = before
            hard.append(folder)
    return counted + _measured(hard) if hard else counted


def _size(entry: os.stat_result, links: set[tuple[int, int]]) -> int:
    if entry.st_nlink > 1 and not stat.S_ISDIR(entry.st_mode):
        key = (entry.st_dev, entry.st_ino)
        if key in links:
            return 0
        links.add(key)
    return max(entry.st_blocks * 512, ENTRY)


def _walk(folder: Path) -> Generator[os.stat_result]:
    """Every entry below."""
    # The folder itself is the server's choice, and may be a link of the owner's.
    handle = os.open(folder, ENTERING)
    try:
        yield from _below(handle, device=os.fstat(handle).st_dev, depth=0)
    finally:
        os.close(handle)


def _below(handle: int, *, device: int, depth: int) -> Generator[os.stat_result]:
    """By handles, so that a folder swapped for a link meanwhile is not entered."""
    if depth == DEEPEST:
        raise TooDeep
    with os.scandir(handle) as listing:
        for entry in listing:
            try:
                found = entry.stat(follow_symlinks=False)
                inner = (
                    os.open(entry.name, ENTERING | os.O_NOFOLLOW, dir_fd=handle)
                    if stat.S_ISDIR(found.st_mode) and found.st_dev == device
                    else None
                )
            except PermissionError:
                raise
            except OSError:
                continue  # gone or swapped since it was listed
            if found.st_dev == device:
                yield found
            if inner is not None:
                try:
                    yield from _below(inner, device=device, depth=depth + 1)
                finally:
                    os.close(inner)


def _measured(folders: Sequence[Path]) -> int:
    as_owner = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--"]
    try:
        done = subprocess.run(  # noqa: S603  our own words; the folders are the server's
            [*as_owner, "du", "--summarize", "--one-file-system", "--block-size=1", "--", *folders],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,  # it also complains of what vanished while it looked
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(int(line.split("\t")[0]) for line in done.stdout.splitlines())
