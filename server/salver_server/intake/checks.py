"""What can be accepted at all: pure, with a sentence for whoever sent what can't be."""

from salver_server.clock import stamp
from salver_server.errors import Rejected
from salver_server.intake.commands import command
from salver_server.messages import LONGEST_TEXT, MOST_FILES, Inbound

LONGEST_NAME = 400
"""Characters of a sender's name, an address, a thread or a platform's key."""


def check(message: Inbound) -> None:
    """Raises `Rejected` for what cannot be accepted, before anything of it is kept."""
    if not message.text.strip() and not message.files:
        raise Rejected("The message is empty. Write something.")
    if len(message.files) > MOST_FILES:
        raise Rejected(
            f"The message has {len(message.files)} files; at most {MOST_FILES} are accepted. Send it in parts."
        )
    if len(set(message.files)) < len(message.files):
        raise Rejected("The message names a file twice. Name each once.")
    check_text(message.text)
    if message.due_at is not None and message.when != "now":
        raise Rejected("Choose one of a time and a place in the queue.")
    if command(message.text) and (message.due_at is not None or message.when != "now"):
        raise Rejected("A command is obeyed at once; it waits for no time and in no queue.")
    for name, value in (
        ("sender", message.sender),
        ("key", message.key),
        ("thread", message.thread or "-"),
    ):
        if not value or len(value) > LONGEST_NAME:
            raise Rejected(f"The message's {name} must have 1 to {LONGEST_NAME} characters.")
    try:
        stamp(max(message.sent_at, message.due_at or message.sent_at))
    except OverflowError as exc:
        raise Rejected("The message's time is beyond the calendar. Choose an earlier one.") from exc
    for value in (message.sender, message.key, message.thread or ""):
        _check_characters(value)


def check_text(text: str) -> None:
    """Raises `Rejected` for what cannot be the text of a message."""
    if len(text) > LONGEST_TEXT:
        raise Rejected(
            f"The message has {len(text)} characters; at most {LONGEST_TEXT} are accepted. Send it in parts."
        )
    _check_characters(text)


def _check_characters(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise Rejected(
            "The message holds half of a character (a lone surrogate). Send plain text."
        ) from exc
