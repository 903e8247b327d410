"""Search text files for a regular expression, in a process of its own.

A pattern may take for ever on a single line, and nothing but killing its process ends that. What is
found is written line by line, so that nothing of it is lost then. Standard library only: starting
must be quick.
"""

import json
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from salver_runner.workspace import files, tree

MOST_LINES = 200
LONGEST_LINE = 300
"""Characters of a matching line that are shown."""
PATIENCE = 20.0
"""Seconds."""
MOST_MEMORY = 512 * 1024 * 1024
"""Bytes, for patterns that unfold into something huge."""
REFUSED = 2
"""Exit code: what was written is why nothing was searched."""


def main() -> int:
    request = json.load(sys.stdin)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MOST_MEMORY if hard == resource.RLIM_INFINITY else min(MOST_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        pattern = re.compile(request["pattern"], re.IGNORECASE if request["ignore_case"] else 0)
    except (re.error, OverflowError, RecursionError, MemoryError) as exc:
        _say(f"This is no regular expression that Python can use: {exc or type(exc).__name__}.")
        return REFUSED
    try:
        _search(pattern, request["path"], request["glob"])
    except files.Unusable as exc:
        _say(str(exc))
        return REFUSED
    except OSError as exc:
        _say(files.trouble(request["path"], exc))
        return REFUSED
    except ValueError as exc:
        _say(f"{request['glob']!r} can't be looked for: {exc}.")
        return REFUSED
    return 0


def _search(pattern: re.Pattern[str], path: str, glob: str) -> None:
    until = time.monotonic() + PATIENCE
    lines, skipped = 0, list[str]()
    for name in _names(path, glob, until):
        try:
            data, _ = files.contents(name)
        except files.Unusable:
            skipped.append(name.removeprefix("./"))
            continue
        if b"\0" in data[: files.PROBE]:
            continue
        for number, line in enumerate(data.decode(errors="replace").split("\n"), 1):
            if match := pattern.search(line):
                if lines == MOST_LINES:
                    _say(f"[Only the first {MOST_LINES} lines are shown; search more narrowly.]")
                    return
                lines += 1
                _say(f"{name.removeprefix('./')}:{number}: {_cut(line, match.start())}")
    if skipped:
        more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        _say(f"[Not searched, too large or not readable: {', '.join(skipped[:5])}{more}.]")
    if time.monotonic() > until:
        _say(f"[Not everything was searched within {PATIENCE:g} s; search more narrowly.]")
    elif not lines:
        _say(f"Nothing matches in {path}." if path != "." else "Nothing matches.")


def _names(path: str, glob: str, until: float) -> Iterator[str]:
    if Path(path).is_dir():
        for entry in tree.files(path, glob, go_on=lambda: time.monotonic() < until):
            yield entry.path
    elif files.standing(path) is None:
        raise FileNotFoundError(path)
    else:
        yield path


def _cut(line: str, at: int) -> str:
    line = line.removesuffix("\r")
    if len(line) <= LONGEST_LINE:
        return line
    start = max(0, min(at - LONGEST_LINE // 4, len(line) - LONGEST_LINE))
    end = start + LONGEST_LINE
    return f"{'…' if start else ''}{line[start:end]}{'…' if end < len(line) else ''}"


def _say(line: str) -> None:
    sys.stdout.buffer.write(line.encode(errors="replace") + b"\n")
    sys.stdout.buffer.flush()
