"""Note something for later turns in MEMORY.md."""

from collections.abc import Mapping

from salver_runner.clock import today
from salver_runner.tools import Handed, Result, ToolSpec, settled
from salver_runner.workspace import files, memory

LONGEST = 1000
"""Characters of one note."""


async def run_remember(arguments: Mapping[str, object], handed: Handed) -> Result:
    text = arguments.get("text")
    if not isinstance(text, str) or not (note := " ".join(text.split())):
        return Result(text="remember needs `text`, and it must not be empty.", failed=True)
    if len(note) > LONGEST:
        return Result(
            text=f"A note has at most {LONGEST} characters, this one {len(note)}; nothing was added."
            " Put it in a file with `write`, and remember where that is.",
            failed=True,
        )
    try:
        await settled(lambda: memory.add(note, day=today(), seen=handed.seen))
    except files.Unusable as exc:
        return Result(text=str(exc), failed=True)
    return Result(text="Noted in MEMORY.md.")


TOOL = ToolSpec(
    name="remember",
    description=(
        "Note something for all later turns: a dated line in MEMORY.md of the workspace, which you are"
        " shown at the start of each turn. For lasting facts and wishes of the person, in one sentence;"
        " correct or remove notes with `edit`."
    ),
    parameters={
        "type": "object",
        "properties": {"text": {"type": "string", "description": "The note, one line."}},
        "required": ["text"],
        "additionalProperties": False,
    },
    longest=60,
    run=run_remember,
)
