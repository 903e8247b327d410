"""What a file is, by its first bytes: neither its name nor who sent it has a say."""

import codecs

PROBE = 8192
"""Bytes at the beginning that are looked at."""
INLINE = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""Types that may be shown in a page; what holds scripts is never among them."""
BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
)
NO_TEXT = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b")


def sniffed(head: bytes) -> str:
    """The type of a file that begins so."""
    head = head[:PROBE]
    for beginning, kind in BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return "text/plain" if _is_text(head) else "application/octet-stream"


def _is_text(head: bytes) -> bool:
    if NO_TEXT.intersection(head):
        return False
    try:
        # The last character may go on beyond what is looked at.
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < PROBE)
    except UnicodeDecodeError:
        return False
    return True
