"""List files by a pattern, newest first."""

import asyncio
import heapq
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from salver_runner.clock import elapsed
from salver_runner.tools import Handed, Result, ToolSpec, shorten
from salver_runner.workspace import files, tree

MOST_LISTED = 200
PATIENCE = 10.0
"""Seconds after which a walk through a big tree is cut."""


async def run_glob(arguments: Mapping[str, object], _handed: Handed) -> Result:
    pattern, path = arguments.get("pattern"), arguments.get("path", ".")
    if not isinstance(pattern, str) or not pattern:
        return Result(text="glob needs `pattern`, such as **/*.py.", failed=True)
    if not isinstance(path, str) or not path:
        return Result(text="`path` is the folder to look in.", failed=True)
    if pattern.startswith("/"):
        path = "/"
    stopped, until = threading.Event(), elapsed() + PATIENCE
    try:
        return await asyncio.to_thread(
            _listed, path, pattern, lambda: not stopped.is_set() and elapsed() < until
        )
    except OSError as exc:
        return Result(text=files.trouble(path, exc), failed=True)
    except ValueError as exc:
        return Result(text=f"{pattern!r} can't be looked for: {exc}.", failed=True)
    finally:
        stopped.set()


def _listed(root: str, pattern: str, go_on: Callable[[], bool]) -> Result:
    found = 0
    newest: list[tuple[int, str]] = []
    for entry in tree.files(root, pattern, go_on=go_on):
        try:
            age = (entry.stat().st_mtime_ns, entry.path)
        except OSError:
            continue  # gone meanwhile
        found += 1
        if found <= MOST_LISTED:
            heapq.heappush(newest, age)
        else:
            heapq.heappushpop(newest, age)
    lines = [_shown(path) for _, path in sorted(newest, reverse=True)]
    if found > MOST_LISTED:
        lines.append(
            f"[The newest {MOST_LISTED} of {found} files; a narrower pattern shows others.]"
        )
    if not go_on():
        lines.append(
            f"[Not everything was looked at: this takes longer than {PATIENCE:g} s. Give a `path` or a"
            " narrower pattern.]"
        )
    if not lines:
        return Result(
            text=f"No file matches {pattern} in {Path(root).resolve()}. **/ looks in folders below;"
            " hidden ones must be named."
        )
    return Result(text=shorten("\n".join(lines)))


def _shown(path: str) -> str:
    return os.fsencode(path.removeprefix("./")).decode(errors="replace")


TOOL = ToolSpec(
    name="glob",
    description=(
        "List files by a pattern, newest first: *, ? and {a,b} within a name, ** for any folders, so"
        f" that **/*.py finds all of them. Lists {MOST_LISTED} files at most; folders are not listed,"
        " links to folders not followed, hidden files left out unless the pattern names them, as in"
        " .github/** or **/.env."
    ),
    parameters={
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "description": "The pattern, such as src/**/*.{ts,tsx}."},
            "path": {
                "type": "string",
                "description": "The folder to look in, the workspace unless given.",
            },
        },
        "required": ["pattern"],
        "additionalProperties": False,
    },
    longest=PATIENCE + 5,
    run=run_glob,
)
