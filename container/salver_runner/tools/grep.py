"""Search files for a regular expression; the search itself runs in a process that can be killed."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from salver_runner.tools import Handed, Result, ToolSpec, shorten
from salver_runner.workspace.search import MOST_LINES, PATIENCE, REFUSED

SOURCE = Path(__file__).parents[2]
SEARCH = (
    f"import sys; sys.path.insert(0, {str(SOURCE)!r}); "
    "from salver_runner.workspace.search import main; sys.exit(main())"
)
KILLED_AT = PATIENCE + 2
"""Seconds; a search that looks at its clock has ended by itself before."""


async def run_grep(arguments: Mapping[str, object], _handed: Handed) -> Result:
    return await grep(arguments, killed_at=KILLED_AT)


async def grep(arguments: Mapping[str, object], *, killed_at: float) -> Result:
    pattern, path = arguments.get("pattern"), arguments.get("path", ".")
    glob, ignore_case = arguments.get("glob", "*"), arguments.get("ignore_case", False)
    if not isinstance(pattern, str) or not pattern:
        return Result(text="grep needs `pattern`, a regular expression.", failed=True)
    if not isinstance(path, str) or not path or not isinstance(glob, str) or not glob:
        return Result(
            text="`path` is a file or folder, `glob` a pattern of file names.", failed=True
        )
    if not isinstance(ignore_case, bool):
        return Result(text="`ignore_case` is true or false.", failed=True)
    request = {
        "pattern": pattern,
        "path": path,
        "glob": glob if "/" in glob else f"**/{glob}",
        "ignore_case": ignore_case,
    }
    return await _search(json.dumps(request).encode(), killed_at)


async def _search(request: bytes, killed_at: float) -> Result:
    try:
        child = subprocess.Popen(  # noqa: S603, ASYNC220 - our own code; a spawn takes 2 ms
            [sys.executable, "-I", "-S", "-c", SEARCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as exc:
        return Result(text=f"The search could not be started: {exc}.", failed=True)
    try:
        output, late = await asyncio.to_thread(_followed, child, request, killed_at)
    finally:
        # Stopped, too: this ends what the thread waits for.
        child.kill()
        child.wait()
    if late:
        return Result(
            text=f"{_text(output)}Ended after {killed_at:g} s: on some line this pattern takes"
            " too long. Write it without repetitions inside repetitions, or search fewer files.",
            failed=True,
        )
    if child.returncode not in (0, REFUSED):
        return Result(
            text=f"{_text(output)}The search broke off (exit code {child.returncode}), perhaps for want"
            " of memory. Search fewer files or for something simpler.",
            failed=True,
        )
    return Result(text=_text(output).rstrip("\n"), failed=child.returncode == REFUSED)


def _followed(
    child: subprocess.Popen[bytes], request: bytes, killed_at: float
) -> tuple[bytes, bool]:
    """All that it wrote, and whether it had to be killed."""
    try:
        return child.communicate(request, killed_at)[0], False
    except subprocess.TimeoutExpired:
        child.kill()
        return child.communicate()[0], True


def _text(output: bytes) -> str:
    return shorten(output.decode(errors="replace"))


TOOL = ToolSpec(
    name="grep",
    description=(
        "Search text files line by line for a regular expression as Python has them. Shows"
        f" path:line: text, {MOST_LINES} lines at most. Hidden files are left out unless `path` or"
        " `glob` names them, binary ones always."
    ),
    parameters={
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "description": "The regular expression."},
            "path": {
                "type": "string",
                "description": "The file or folder to search, the workspace unless given.",
            },
            "glob": {
                "type": "string",
                "description": "Which files to search, such as *.py in any folder, or src/**/*.{ts,tsx}.",
            },
            "ignore_case": {
                "type": "boolean",
                "description": "Whether capital and small letters are the same.",
            },
        },
        "required": ["pattern"],
        "additionalProperties": False,
    },
    longest=KILLED_AT + 5,
    run=run_grep,
)
