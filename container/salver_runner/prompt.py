"""How messages become text for a model: who wrote what and when, clearly set apart.

What a person or a page of the web writes cannot pass for somebody else's message or for Salver's own
words: the few elements that frame messages are the only text that is ever escaped, so that code stays
readable.
"""

import html
import re
from collections.abc import Iterable
from datetime import datetime

from salver_runner.inbox import File, Message, Quote
from salver_runner.tools import shorten

LONGEST_MESSAGE = 100_000
"""Characters of one message that a model is shown; of a longer one, the beginning and the end."""
WHOLE = "[The whole message is in /salver/in/inbound.db, an SQLite file, as `text` in `messages` where `seq` is {seq}.]"
LONGEST_QUOTE = 2000
LONGEST_NAME = 200

FILES = "/salver/in/files"
"""What came with messages, as the sandbox sees it."""
NAMES = (
    *("message", "context", "notice", "now", "quote", "summary", "skill", "own-notes", "fetched"),
    "conversation",
)
"""Of the elements that frame what a model reads."""
FRAMES = re.compile(rf"<(?=\s*/?\s*(?:{'|'.join(NAMES)})\b)", re.IGNORECASE)


def prompt(messages: Iterable[Message], *, now: datetime, notice: str = "") -> str:
    """Everything that goes into one request, in order, below the local time; a notice of ours comes first."""
    parts = [f"<notice>\n{escape(notice)}\n</notice>"] if notice else []
    parts += [_framed(message) for message in messages]
    # Here and not among the instructions: what stands before all messages must stay as it is, so that
    # model providers need not read it again.
    return "\n\n".join([f"<now>{_moment(now)}</now>", *parts]) if parts else ""


def summary(text: str) -> str:
    """What stands in place of the beginning of a conversation."""
    return f"<summary>\n{escape(text.strip())}\n</summary>"


def escape(text: str) -> str:
    """The text, unable to end or to begin a frame."""
    return FRAMES.sub("&lt;", text)


def attribute(text: str) -> str:
    """The text as the value of an attribute of a frame: one line, and no longer than a name."""
    line = " ".join(text.split())
    return html.escape(line if len(line) <= LONGEST_NAME else f"{line[:LONGEST_NAME]}…")


def fetched(text: str, *, url: str, status: int) -> str:
    """What somebody published on the web, as the result of a tool."""
    return f'<fetched url="{html.escape(url)}" status="{status}">\n{escape(text)}\n</fetched>'


def _framed(message: Message) -> str:
    frame = "context" if message.kind == "note" else "message"
    sent_at = datetime.fromisoformat(message.sent_at).astimezone()
    sender = attribute(message.sender)
    quote = _quoted(message.quoted) if message.quoted else ""
    head = f'{frame} number="{message.seq}" from="{sender}" time="{_moment(sent_at)}"'
    lines = [_capped(message)] if message.text or not message.files else []
    lines += [_line(message, file) for file in message.files]
    return f"<{head}>\n{quote}{escape(chr(10).join(lines))}\n</{frame}>"


def _line(message: Message, file: File) -> str:
    # Names come without line ends and frames: the server sees to it.
    return f"[file {file.name}, {file.type}, {_size(file.size)}: {FILES}/{message.id}/{file.name}]"


def _size(count: int) -> str:
    return f"{count} bytes" if count < 10_000 else f"{count / 1_000_000:.2f} MB"


def _quoted(quote: Quote) -> str:
    text = shorten(quote.text, LONGEST_QUOTE)
    return f'<quote from="{attribute(quote.sender)}">\n{escape(text)}\n</quote>\n'


def _capped(message: Message) -> str:
    if len(message.text) <= LONGEST_MESSAGE:
        return message.text
    return f"{shorten(message.text, LONGEST_MESSAGE)}\n{WHOLE.format(seq=message.seq)}"


def _moment(at: datetime) -> str:
    return f"{at:%A %Y-%m-%d %H:%M %z}"
