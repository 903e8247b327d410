"""Reading the tokens of an answer while it passes by, however it is cut into pieces.

Bounded: an event that is longer than any should be tells nothing. What a vendor sends is never changed here.
"""

from salver_server.calls import Tokens
from salver_server.gateway.body import JsonObject
from salver_server.gateway.exchange import Refused
from salver_server.gateway.wires import Json, WireSpec

LONGEST = 4 * 1024 * 1024
"""Bytes of one event, or of an answer in one piece."""


class Counter:
    """Takes the pieces of one answer."""

    def __init__(self, spec: WireSpec) -> None:
        self.asked = False
        """Whether the request has gone out."""
        self._spec = spec
        self._events: Events | None = None
        self._whole = bytearray()
        self._too_long = False
        self._counts: Json = {}
        self._final = False

    @property
    def tokens(self) -> Tokens | None:
        """None while the vendor might say more: who hangs up before the end is not told the price."""
        return self._spec.tokens(self._counts) if self._final and self._counts else None

    def begin(self, content_type: str) -> None:
        if content_type.partition(";")[0].strip().lower() == "text/event-stream":
            self._events = Events()

    def feed(self, part: bytes) -> None:
        if self._events is not None:
            for event in self._events.feed(part):
                self._take(event)
        elif self._too_long or len(self._whole) + len(part) > LONGEST:
            self._too_long = True
            self._whole.clear()
        else:
            self._whole += part

    def end(self) -> None:
        """The answer is whole."""
        if self._events is None:
            self._take(bytes(self._whole))
        else:
            self.feed(b"\n\n")  # some leave out what ends the last event
        self._final = True

    def _take(self, event: bytes) -> None:
        if event == b"[DONE]":
            self._final = True
        if self._spec.marker not in event:
            return
        try:
            usage = self._spec.usage(JsonObject.validate_json(event))
        except (ValueError, Refused):
            return
        if usage is not None:
            self._counts |= {
                name: value for name, value in usage.counts.items() if value is not None
            }
            self._final = self._final or usage.final


class Events:
    """Cuts a stream of server-sent events into the data of each."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._too_long = False

    def feed(self, part: bytes) -> list[bytes]:
        """The data of the events that this piece completes."""
        *lines, rest = part.split(b"\n")
        events: list[bytes] = []
        for line in lines:
            self._hold(line)
            if event := self._line_ended():
                events.append(event)
        self._hold(rest)
        return events

    def _hold(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= LONGEST:
            self._line += piece
        elif piece:
            self._too_long = True
            self._line[:] = b":"  # a comment, and not the blank line that ends an event
            self._data.clear()

    def _line_ended(self) -> bytes:
        line = bytes(self._line.removesuffix(b"\r"))
        self._line.clear()
        if line:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            return b""
        event = b"" if self._too_long else b"\n".join(self._data)
        self._data.clear()
        self._size = 0
        self._too_long = False
        return event
