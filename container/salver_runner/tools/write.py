"""Make a file, or replace one that was read: all of it or nothing."""

from collections.abc import Mapping

from salver_runner.tools import Handed, Result, ToolSpec, settled
from salver_runner.workspace import files
from salver_runner.workspace.seen import Seen


async def run_write(arguments: Mapping[str, object], handed: Handed) -> Result:
    path, text = arguments.get("path"), arguments.get("text")
    if not isinstance(path, str) or not path:
        return Result(text="write needs `path`, the path of a file.", failed=True)
    if not isinstance(text, str):
        return Result(text="write needs `text`, all that the file shall hold.", failed=True)
    return await settled(lambda: _write(path, text, handed.seen))


def _write(path: str, text: str, seen: Seen) -> Result:
    try:
        before = files.standing(path)
        if before is not None and (objection := seen.objection(path, before)):
            return Result(text=objection, failed=True)
        seen.note(path, files.replace(path, text))
    except files.Unusable as exc:
        return Result(text=str(exc), failed=True)
    lines = text.count("\n") + (not text.endswith("\n") and bool(text))
    done = "Made" if before is None else "Replaced"
    return Result(text=f"{done} {path}: {lines} {'line' if lines == 1 else 'lines'}.")


TOOL = ToolSpec(
    name="write",
    description=(
        "Write a whole text file, folders above it included. A file that exists is replaced, if you"
        " have read it and nothing changed it since; to change a part of it, use `edit`."
    ),
    parameters={
        "type": "object",
        "properties": {
            "path": {
                "type": "string",
                "description": "The file; relative paths begin in the workspace.",
            },
            "text": {"type": "string", "description": "All that the file shall hold."},
        },
        "required": ["path", "text"],
        "additionalProperties": False,
    },
    longest=60,
    run=run_write,
)
