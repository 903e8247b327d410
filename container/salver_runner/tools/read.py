"""Show a text file with line numbers."""

import asyncio
from collections.abc import Mapping

from salver_runner.tools import LONGEST_RESULT, Handed, Result, ToolSpec
from salver_runner.workspace import files

DEFAULT_LINES = 1000
LONGEST_LINE = 2000
"""Characters of one line that are shown."""
ROOM = LONGEST_RESULT - 300
"""Characters for lines; what is left out is said in the rest."""


async def run_read(arguments: Mapping[str, object], handed: Handed) -> Result:
    path, offset = arguments.get("path"), arguments.get("offset", 1)
    limit = arguments.get("limit", DEFAULT_LINES)
    if not isinstance(path, str) or not path:
        return Result(text="read needs `path`, the path of a file.", failed=True)
    if not isinstance(offset, int) or not isinstance(limit, int) or offset < 1 or limit < 1:
        return Result(text="`offset` and `limit` are whole numbers from 1 on.", failed=True)
    try:
        text, state = await asyncio.to_thread(files.text, path)
    except files.Unusable as exc:
        return Result(text=str(exc), failed=True)
    handed.seen.note(path, state)
    if not text:
        return Result(text=f"{path} is empty.")
    return _shown(path, text.removesuffix("\n").split("\n"), first=offset, limit=limit)


def _shown(path: str, lines: list[str], *, first: int, limit: int) -> Result:
    if first > len(lines):
        return Result(text=f"{path} has only {len(lines)} lines.", failed=True)
    shown: list[str] = []
    room = ROOM
    for number, line in enumerate(lines[first - 1 : first - 1 + limit], first):
        numbered = f"{number:>6}\t{_cut(line.removesuffix(chr(13)))}"
        room -= len(numbered) + 1
        if room < 0:
            break
        shown.append(numbered)
    last = first - 1 + len(shown)
    if first > 1 or last < len(lines):
        more = f"; go on with offset {last + 1}" if last < len(lines) else ""
        shown.append(f"[Lines {first} to {last} of {len(lines)}{more}.]")
    return Result(text="\n".join(shown))


def _cut(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    return f"{line[:LONGEST_LINE]} [… {len(line) - LONGEST_LINE} more characters in this line; the shell's cut -c shows them]"


TOOL = ToolSpec(
    name="read",
    description=(
        "Show a text file, each line with its number and a tab before it. Use it before `edit` or"
        f" `write` change an existing file. Shows {DEFAULT_LINES} lines unless told otherwise, and"
        " says how to go on when there are more."
    ),
    parameters={
        "type": "object",
        "properties": {
            "path": {
                "type": "string",
                "description": "The file; relative paths begin in the workspace.",
            },
            "offset": {"type": "integer", "description": "First line to show, 1 unless given."},
            "limit": {
                "type": "integer",
                "description": f"Most lines to show, {DEFAULT_LINES} unless given.",
            },
        },
        "required": ["path"],
        "additionalProperties": False,
    },
    longest=60,
    run=run_read,
)
