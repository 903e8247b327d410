"""Where a conversation that has grown too long is cut: what goes into a summary, what stays word for word.

Nothing here knows a provider. A conversation is cut only between whole rounds (what was asked, what was
answered, what the tools returned): a call without its result is no conversation to any model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FULL = 0.75
"""Of the window: a request that is larger is not made before the conversation is compacted."""
STAYS = 0.25
"""Of the window: what stays word for word takes no more."""
UNKNOWN_WINDOW = 32_000
"""Tokens of a model of which nobody knows how many it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One provider message."""

    kind: Literal["asked", "answer", "returns"]
    """What people said, what the model answered, or what its calls returned."""
    size: int
    """Tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    keep: int
    """The entries from this one on stay."""
    carry: int | None
    """The latest of what people said, where it lies before: it stays too."""

    def goes(self) -> list[int]:
        """The entries in whose place a summary stands."""
        return [index for index in range(self.keep) if index != self.carry]


def is_due(used: int, window: int) -> bool:
    return used > window * FULL


def plan(entries: Sequence[Entry], *, room: int) -> Cut | None:
    """The cut that leaves the newest whole rounds that fit into `room`, at least the very newest one.

    None where nothing would go. What people said last always stays.
    """
    starts = [index for index in range(len(entries)) if _begins(entries, index)]
    if not starts:
        return None
    asked = max((i for i, entry in enumerate(entries) if entry.kind == "asked"), default=None)
    keep = starts[-1]
    size = _size(entries[keep:])
    for start in reversed(starts[:-1]):
        size += _size(entries[start:keep])
        carried = entries[asked].size if asked is not None and asked < start else 0
        if size + carried > room:
            break
        keep = start
    cut = Cut(keep=keep, carry=asked if asked is not None and asked < keep else None)
    return cut if cut.goes() else None


def _begins(entries: Sequence[Entry], index: int) -> bool:
    """Whether a round begins here."""
    match entries[index].kind:
        case "asked":
            return True
        case "answer":
            return index == 0 or entries[index - 1].kind != "asked"
        case "returns":
            return False


def _size(entries: Sequence[Entry]) -> int:
    return sum(entry.size for entry in entries)
