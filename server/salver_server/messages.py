"""The one shape a message has once inside, on its way in and on its way out.

Inbound: what a channel received. Outbound: what a channel is asked to send. Order: a person's wish
about messages already accepted (cancel one, stop the turn). State: what a person can see of a message.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from salver_server.ids import ChannelName, ChatId, DeliveryId, FileId, MessageId, SessionId

MessageKind = Literal["message", "note", "cancel", "stop", "clear", "compact"]
"""`note` is context that the server writes for the agent; all but it and `message` are orders."""

When = Literal["now", "free", "held"]
"""A message is handed over now, when the agent owes nothing else, or when a person says so."""

Release = Literal["free", "person"]
"""What ends the waiting of a message that is held: a free agent, or a person."""

HandoverState = Literal[
    "received", "held", "queued", "running", "answered", "failed", "stopped", "cancelled", "done"
]
"""Of one message in one session: received → queued → running → answered, failed, stopped or cancelled.

`held` waits for a free agent or a person and may still be edited. `done` is an order that has been answered.
"""

OPEN: tuple[HandoverState, ...] = ("received", "held", "queued", "running")
"""States in which something is still owed."""

DeliveryState = Literal["waiting", "sending", "delivered", "perhaps", "failed"]
"""`perhaps`: a crash fell between sending and receipt, on a channel that cannot tell duplicates apart."""

LONGEST_TEXT = 200_000
"""Characters of one message; a channel refuses longer ones before they are accepted."""

MOST_FILES = 20
"""Files of one message, in either direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What comes with a message, in either direction."""

    id: FileId
    name: str
    """No path, and safe to be shown."""
    type: str
    """As found by looking inside, such as image/png."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A file, and where it lies on this computer."""

    file: File
    path: Path


LONGEST_QUOTE = 2000
"""Characters of a quoted text; what is beyond is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """An earlier message or reply, as far as it is quoted."""

    sender: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """A message as a channel received it. `key` is the platform's own, unique per channel."""

    channel: ChannelName
    address: str
    """The chat's address on the channel."""
    thread: str | None = None
    key: str
    sender: str
    text: str
    """Empty where files say it all."""
    files: tuple[FileId, ...] = ()
    """Uploads that come with it, in order."""
    sent_at: datetime
    due_at: datetime | None = None
    """Not before this moment; None is at once."""
    when: When = "now"
    quoted: Quoted | None = None
    """What it answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """A message as a channel is asked to send it. `id` never changes over retries."""

    id: DeliveryId
    chat: ChatId
    address: str
    thread: str | None
    session: SessionId
    kind: Literal["reply", "send", "failure"]
    text: str
    files: tuple[Placed, ...] = ()
    answers: tuple[MessageId, ...]
    """The messages that this answers; empty for what an agent says of its own accord."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Live: what a turn is doing. Lost when nobody listens; the databases hold what counts."""

    session: SessionId
    turn: int
    kind: Literal["text", "again", "tool", "output", "tool-end"]
    """`again`: the text so far is void, `text` stands in its place and is gone on from."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Something about this session's messages or deliveries is new in salver.db."""

    session: SessionId


Event = Progress | Changed
