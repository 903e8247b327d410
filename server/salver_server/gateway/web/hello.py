"""The first thing that a TLS client says, read for the name of the server that it wants.

Bounded and strict: what is odd is refused, never guessed at, since the server at the other end might
read it otherwise.
"""

import struct
from collections.abc import Iterator

LONGEST = 16 * 1024
"""Bytes of a hello; real ones take one or two thousand."""
MOST_RECORDS = 64
"""It may come in so many pieces."""

RECORD = struct.Struct("!BHH")
HANDSHAKE = 22
CLIENT_HELLO = 1
SERVER_NAME = 0
HOST_NAME = 0


class NotHello(Exception):
    """This is no hello that could be trusted; says what is wrong with it."""


class Hello:
    """Takes what a client sends until it has said hello."""

    def __init__(self) -> None:
        self.taken = bytearray()
        """All of it, as it came."""
        self._message = bytearray()
        self._at = 0
        self._records = 0

    def feed(self, data: bytes) -> str | None:
        """The name that the client asks for, once it is there; raises `NotHello`."""
        self.taken += data
        if self.taken and self.taken[0] != HANDSHAKE:
            raise NotHello("it does not begin a TLS connection")
        while len(self.taken) - self._at >= RECORD.size:
            kind, version, length = RECORD.unpack_from(self.taken, self._at)
            self._records += 1
            if kind != HANDSHAKE or version >> 8 != 3 or not 0 < length <= LONGEST:
                raise NotHello("it begins no TLS connection that can be read")
            start = self._at + RECORD.size
            if len(self.taken) < start + length:
                self._records -= 1
                return None
            if self._records > MOST_RECORDS:
                raise NotHello("its TLS hello comes in too many pieces")
            self._message += self.taken[start : start + length]
            self._at = start + length
            if (name := _named(self._message)) is not None:
                return name
        return None


def _named(message: bytes | bytearray) -> str | None:
    """The name in a whole hello, None for a part of one."""
    if message[0] != CLIENT_HELLO:
        raise NotHello("its first TLS message is no hello")
    if len(message) < 4:
        return None
    length = int.from_bytes(message[1:4])
    if length > LONGEST:
        raise NotHello("its TLS hello is too long")
    if len(message) < 4 + length:
        return None
    if len(message) > 4 + length:
        raise NotHello("something follows its TLS hello at once")
    try:
        return _server_name(bytes(message[4:]))
    except (struct.error, IndexError, UnicodeDecodeError) as exc:
        raise NotHello("its TLS hello is malformed") from exc


def _server_name(body: bytes) -> str:
    rest = body[34:]  # version and randomness
    _, rest = _vector(rest, 1)  # session
    _, rest = _vector(rest, 2)  # ciphers
    _, rest = _vector(rest, 1)  # compression
    if not rest:
        raise NotHello("its TLS hello names no server (SNI)")
    extensions, rest = _vector(rest, 2)
    if rest:
        raise NotHello("its TLS hello is malformed")
    names = [content for kind, content in _extensions(extensions) if kind == SERVER_NAME]
    if not names:
        raise NotHello("its TLS hello names no server (SNI)")
    if len(names) > 1:
        raise NotHello("its TLS hello names two servers")
    entries, rest = _vector(names[0], 2)
    if rest or entries[0] != HOST_NAME:
        raise NotHello("its TLS hello is malformed")
    name, rest = _vector(entries[1:], 2)
    if rest:
        raise NotHello("its TLS hello names two servers")
    return name.decode("ascii")


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        (kind,) = struct.unpack_from("!H", data)
        content, data = _vector(data[2:], 2)
        yield kind, content


def _vector(data: bytes, size: int) -> tuple[bytes, bytes]:
    """What a length of so many bytes announces, and what follows it."""
    if len(data) < size:
        raise IndexError
    end = size + int.from_bytes(data[:size])
    if len(data) < end:
        raise IndexError
    return data[size:end], data[end:]
