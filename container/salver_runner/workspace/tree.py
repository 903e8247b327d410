"""Which files match a pattern: `*`, `?`, `[…]` and `{a,b}` within a name, `**` for any folders.

Hidden files and folders match only a part of the pattern that begins with a dot. Folders behind links
are not entered, so that no walk is endless.
"""

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Sequence

MOST_BRACES = 64
"""Patterns that braces may unfold into."""

Matcher = Callable[[str], object]
States = frozenset[tuple[int, int]]
"""Places in the patterns that a path has reached: which pattern, and which of its parts comes next."""


class Patterns:
    """One pattern, as all the patterns without braces that it stands for; raises ValueError."""

    def __init__(self, pattern: str) -> None:
        self._parts = [_parts(unfolded) for unfolded in _unfold(pattern)]
        self.start = self._reach((number, 0) for number in range(len(self._parts)))

    def step(self, states: States, name: str) -> tuple[States, bool]:
        """What a folder of this name leads to, and whether a file of this name matches."""
        found: list[tuple[int, int]] = []
        ends = False
        for pattern, index in states:
            parts = self._parts[pattern]
            part = parts[index]
            if part is None:
                if not name.startswith("."):
                    found.append((pattern, index))
            elif part(name):
                ends = ends or index == len(parts) - 1
                found.append((pattern, index + 1))
        return self._reach(found), ends

    def _reach(self, found: Iterator[tuple[int, int]] | list[tuple[int, int]]) -> States:
        reached: set[tuple[int, int]] = set()
        for pattern, index in found:
            parts = self._parts[pattern]
            while index < len(parts):
                reached.add((pattern, index))
                if parts[index] is not None:
                    break
                index += 1  # `**` stands for no folder at all, too
        return frozenset(reached)


def files(root: str, pattern: str, *, go_on: Callable[[], bool]) -> Iterator[os.DirEntry[str]]:
    """Files below `root` that match, folder by folder, until `go_on` says no.

    Raises ValueError for a pattern that makes no sense, OSError when `root` can't be listed.
    """
    patterns = Patterns(pattern)
    waiting = [(root, patterns.start)]
    while waiting and go_on():
        path, states = waiting.pop()
        try:
            yield from _folder(path, patterns, states, waiting, go_on)
        except OSError:
            if path == root:
                raise
            # Any other is gone, or not open to us.


def _folder(
    path: str,
    patterns: Patterns,
    states: States,
    waiting: list[tuple[str, States]],
    go_on: Callable[[], bool],
) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        for entry in entries:
            if not go_on():
                return
            following, matches = patterns.step(states, entry.name)
            try:
                if following and entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, following))
                elif matches and entry.is_file():
                    yield entry
            except OSError:
                continue  # a link to itself, or gone


def _parts(pattern: str) -> Sequence[Matcher | None]:
    """Each part's matcher, None for `**`."""
    names = [name for name in pattern.split("/") if name not in ("", ".")]
    if not names:
        raise ValueError("the pattern is empty")
    if ".." in names:
        raise ValueError("the pattern holds '..'; name the folder in `path`")
    if names[-1] == "**":
        names.append("*")
    return [None if name == "**" else _matcher(name) for name in names]


def _matcher(name: str) -> Matcher:
    match = re.compile(fnmatch.translate(name)).match
    if name.startswith("."):
        return match
    return lambda found: not found.startswith(".") and match(found)


def _unfold(pattern: str) -> list[str]:
    waiting, done = [pattern], list[str]()
    while waiting:
        if len(waiting) + len(done) > MOST_BRACES:
            raise ValueError(f"its braces stand for more than {MOST_BRACES} patterns")
        one = waiting.pop()
        if braces := re.search(r"\{([^{}]*,[^{}]*)\}", one):
            before, after = one[: braces.start()], one[braces.end() :]
            waiting += [f"{before}{choice}{after}" for choice in braces[1].split(",")]
        else:
            done.append(one)
    return done
