"""Keeping the owner's key out of whatever an upstream sends back."""

INSTEAD = b"***"


class Scrub:
    """Replaces the key in a stream of pieces, also where it spans two of them.

    Holds back only the end of a piece that could be the beginning of the key, so that an answer
    without it passes as it comes.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._held = b""

    def finds(self, text: str) -> bool:
        return bool(self._key) and self._key.decode() in text

    def feed(self, part: bytes) -> bytes:
        """What may go out now."""
        if not self._key:
            return part
        text = (self._held + part).replace(self._key, INSTEAD)
        keep = next(
            length
            for length in range(min(len(self._key) - 1, len(text)), -1, -1)
            if text.endswith(self._key[:length])
        )
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> bytes:
        """What was held back, once nothing follows."""
        held, self._held = self._held, b""
        return held
