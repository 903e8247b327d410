"""Write to the person before the turn ends."""

from collections.abc import Mapping

from salver_runner.tools import Handed, Result, ToolSpec

LONGEST = 10_000
"""Characters."""


async def run_send_message(arguments: Mapping[str, object], handed: Handed) -> Result:
    text = arguments.get("text")
    if not isinstance(text, str) or not text.strip():
        return Result(text="send_message needs `text`, and it must not be empty.", failed=True)
    if len(text) > LONGEST:
        return Result(
            text=f"The message has {len(text)} characters, {LONGEST} are the most; nothing was sent."
            " Shorten it.",
            failed=True,
        )
    handed.send(text)
    return Result(text="Sent.")


TOOL = ToolSpec(
    name="send_message",
    description=(
        "Send the person a message now, while you go on working: that something will take long, or a"
        " first result. Your reply at the end is sent anyway; do not repeat this message in it."
    ),
    parameters={
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "The message, plain text or Markdown."}
        },
        "required": ["text"],
        "additionalProperties": False,
    },
    longest=30,
    run=run_send_message,
)
