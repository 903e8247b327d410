"""File names that no system misreads: whoever chose them, a person or a sandbox, is not trusted."""

import re
import unicodedata
from collections.abc import Iterable

LONGEST = 120
"""Bytes of a name; where Salver puts it, something may be added."""
LONGEST_EXTENSION = 16
"""Bytes of what follows the last dot; more is no extension but a part of the name."""
NAMELESS = "file"
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of characters: they steer a terminal, turn the reading round, or mean nothing to others."""
UNUSABLE = re.compile('[<>:"|?*]')
"""On Windows, whose folders may be shared; the first also opens what a model takes for a frame."""
RESERVED = re.compile(r"(?:CON|PRN|AUX|NUL|(?:COM|LPT)[0-9¹²³])\s*(?:\.|$)", re.IGNORECASE)
"""Devices there, whatever follows the dot."""


def safe(name: str) -> str:
    """The name of a file, of at most `LONGEST` bytes, that is no path and shows what it is."""
    last = re.split(r"[/\\]", name)[-1]
    seen = "".join(
        " " if letter.isspace() else letter
        for letter in last
        if letter.isspace() or unicodedata.category(letter) not in UNSEEN
    )
    tidy = " ".join(UNUSABLE.sub("_", unicodedata.normalize("NFC", seen)).split())
    bare = tidy.lstrip(". ").rstrip(". ") or NAMELESS
    return _cut(f"_{bare}" if RESERVED.match(bare) else bare)


def distinct(names: Iterable[str]) -> list[str]:
    """Safe names for the files of one message: the second of a name is called NAME-2."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        wanted = free = safe(name)
        number = 1
        # Where case does not count, names that differ in nothing else are the same.
        while free.casefold() in taken:
            number += 1
            free = numbered(wanted, number)
        taken.add(free.casefold())
        found.append(free)
    return found


def numbered(name: str, number: int) -> str:
    """NAME-2.png for NAME.png."""
    return _cut(name, f"-{number}")


def _cut(name: str, mark: str = "") -> str:
    stem, dot, extension = name.rpartition(".")
    if not stem.rstrip(". ") or len(extension.encode()) > LONGEST_EXTENSION:
        stem, dot, extension = name, "", ""
    end = f"{mark}{dot}{extension}"
    room = LONGEST - len(end.encode())
    if len(stem.encode()) > room:
        stem = stem.encode()[:room].decode(errors="ignore").rstrip(". ")
    return f"{stem}{end}"
