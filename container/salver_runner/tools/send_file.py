"""Send the person a file before the turn ends."""

from collections.abc import Mapping

from salver_runner.tools import Handed, Result, ToolSpec, settled
from salver_runner.tools.send_message import LONGEST
from salver_runner.workspace import outgoing
from salver_runner.workspace.files import Unusable


async def run_send_file(arguments: Mapping[str, object], handed: Handed) -> Result:
    path, text = arguments.get("path"), arguments.get("text", "")
    if not isinstance(path, str) or not path:
        return Result(text="send_file needs `path`, the path of a file.", failed=True)
    if not isinstance(text, str) or len(text) > LONGEST:
        return Result(
            text=f"`text` is at most {LONGEST} characters; nothing was sent. Shorten it.",
            failed=True,
        )
    try:
        sent = await settled(lambda: outgoing.lay(path, handed.outgoing))
    except Unusable as exc:
        return Result(text=str(exc), failed=True)
    handed.send(text, [sent])
    return Result(text=f"Sent {sent.name}, {sent.size} bytes.")


TOOL = ToolSpec(
    name="send_file",
    description=(
        "Send the person a file from your sandbox now, such as a picture, a table or a report that you made."
        f" It is a copy: what you change afterwards is not sent. At most {outgoing.LARGEST // 1_000_000} MB."
    ),
    parameters={
        "type": "object",
        "properties": {
            "path": {
                "type": "string",
                "description": "The file; relative paths begin in the workspace.",
            },
            "text": {
                "type": "string",
                "description": "A few words that come with it, unless they are not needed.",
            },
        },
        "required": ["path"],
        "additionalProperties": False,
    },
    longest=120,
    run=run_send_file,
)
