"""Replace exact text in a file that was read."""

from collections.abc import Mapping

from salver_runner.tools import Handed, Result, ToolSpec, settled, shorten
from salver_runner.workspace import files
from salver_runner.workspace.seen import Seen

AROUND = 3
"""Lines before and after a change that are shown with it."""
MOST_SHOWN = 5
"""Places of one edit that are shown."""


async def run_edit(arguments: Mapping[str, object], handed: Handed) -> Result:
    path, old, new = (arguments.get(name) for name in ("path", "old", "new"))
    everywhere = arguments.get("all", False)
    if not isinstance(path, str) or not path:
        return Result(text="edit needs `path`, the path of a file.", failed=True)
    if not isinstance(old, str) or not isinstance(new, str) or not isinstance(everywhere, bool):
        return Result(
            text="edit needs `old` and `new`, both text; `all` is true or false.", failed=True
        )
    if not old:
        return Result(
            text="`old` is empty. Give the exact text to replace; a whole file is written with `write`.",
            failed=True,
        )
    if old == new:
        return Result(text="`old` and `new` are the same. Nothing was changed.", failed=True)
    return await settled(lambda: _edit(path, old, new, handed.seen, everywhere=everywhere))


def _edit(path: str, old: str, new: str, seen: Seen, *, everywhere: bool) -> Result:
    try:
        text, state = files.text(path)
        if objection := seen.objection(path, state):
            return Result(text=objection, failed=True)
        if old not in text and "\r\n" in text:
            # `read` shows no carriage returns, so that the model does not write them either.
            old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
        count = text.count(old)
        if problem := _problem(path, count, everywhere=everywhere):
            return Result(text=problem, failed=True)
        seen.note(path, files.replace(path, text.replace(old, new)))
    except files.Unusable as exc:
        return Result(text=str(exc), failed=True)
    places = "1 place" if count == 1 else f"{count} places"
    shown = "\n  …\n".join(_changes(text, old, new))
    more = "" if count <= MOST_SHOWN else f"\n[The first {MOST_SHOWN} of them are shown.]"
    return Result(text=shorten(f"Changed {places} in {path}:\n{shown}{more}"))


def _problem(path: str, count: int, *, everywhere: bool) -> str | None:
    if count == 0:
        return (
            f"`old` is not in {path}. It must be there exactly, blanks and line ends included and"
            " without line numbers. Read the lines again. Nothing was changed."
        )
    if count > 1 and not everywhere:
        return (
            f"`old` is in {path} {count} times. Give more of the text around the one you mean, or"
            " set `all`. Nothing was changed."
        )
    return None


def _changes(text: str, old: str, new: str) -> list[str]:
    """The first changed places as they read now, with the lines around them."""
    now = text.replace(old, new)
    lines = now.split("\n")
    shown: list[str] = []
    start = shift = 0
    while (at := text.find(old, start)) >= 0 and len(shown) < MOST_SHOWN:
        first = now.count("\n", 0, at + shift)
        last = first + new.count("\n")
        beginning = max(0, first - AROUND)
        around = lines[beginning : last + AROUND + 1]
        shown.append(
            "\n".join(
                f"{n:>6}\t{line.rstrip(chr(13))}" for n, line in enumerate(around, beginning + 1)
            )
        )
        start, shift = at + len(old), shift + len(new) - len(old)
    return shown


TOOL = ToolSpec(
    name="edit",
    description=(
        "Replace exact text in a text file that you have read. `old` must occur once, unless `all`"
        " is set. Shows the changed lines."
    ),
    parameters={
        "type": "object",
        "properties": {
            "path": {
                "type": "string",
                "description": "The file; relative paths begin in the workspace.",
            },
            "old": {
                "type": "string",
                "description": "The text to replace, exactly as it stands, without line numbers.",
            },
            "new": {"type": "string", "description": "What shall stand in its place."},
            "all": {"type": "boolean", "description": "Replace every occurrence."},
        },
        "required": ["path", "old", "new"],
        "additionalProperties": False,
    },
    longest=60,
    run=run_edit,
)
