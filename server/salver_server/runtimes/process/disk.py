"""How much of the disk folders take. They're a sandbox's own, so nothing in them is trusted.

No link is followed, no other file system entered; what this process may not enter or finds too
deep is measured by `du`, in a user namespace where the owner may look into everything he owns.
"""

import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

ENTRY = 4096
"""Bytes that any entry counts for at least: directories fill a disk too, and the walk must end."""
DEEPEST = 100
"""Folders in one another; each one open costs a file descriptor."""
PATIENCE = 60.0


def used(folders: Sequence[Path], *, enough: int) -> int:
    """Bytes on disk; stops counting once past `enough`. Blocking, for long if there's much."""
    counted = 0
    hard: list[Path] = []
    links: set[tuple[int, int]] = set()
    for folder in folders:
        before = counted
        try:
            for entry in _walk(folder):
                counted += _size(entry, links)
                if counted > enough:
                    return counted
        except (PermissionError, RecursionError):
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


def _walk(folder: Path) -> Iterator[os.stat_result]:
    """Every entry below, by handles: a folder swapped for a link meanwhile is not entered."""
    handles: list[int] = []
    listings: list[Iterator[os.DirEntry[str]]] = []
    try:
        try:
            _enter(folder, None, handles, listings)
        except FileNotFoundError:
            return
        device = os.fstat(handles[0]).st_dev
        while listings:
            entry = next(listings[-1], None)
            if entry is None:
                listings.pop()
                os.close(handles.pop())
                continue
            try:
                found = entry.stat(follow_symlinks=False)
                if found.st_dev != device:
                    continue
                yield found
                if stat.S_ISDIR(found.st_mode):
                    _enter(entry.name, handles[-1], handles, listings)
            except PermissionError:
                raise
            except OSError:
                continue  # gone or swapped since it was listed
    finally:
        for handle in handles:
            os.close(handle)


def _enter(
    name: str | Path,
    parent: int | None,
    handles: list[int],
    listings: list[Iterator[os.DirEntry[str]]],
) -> None:
    if len(handles) == DEEPEST:
        raise RecursionError
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    # The folders themselves are the server's choice, and may be links of the owner's.
    flags |= 0 if parent is None else os.O_NOFOLLOW
    handle = os.open(name, flags, dir_fd=parent)
    try:
        listing = os.scandir(handle)
    except OSError:
        os.close(handle)
        raise
    handles.append(handle)
    listings.append(listing)


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
