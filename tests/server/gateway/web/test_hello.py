"""Real hellos from this computer's own TLS, and what somebody could make of them."""

import contextlib
import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some

from salver_server.gateway.web.hello import LONGEST, Hello, NotHello


def real(name: str | None = "shop.example.org") -> bytes:
    """What a client of Python's says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    there = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), there, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return there.read()


def vector(data: bytes, size: int = 2) -> bytes:
    return len(data).to_bytes(size) + data


def named(*names: bytes, kind: int = 0) -> bytes:
    """The extension that names servers."""
    entries = b"".join(bytes([kind]) + vector(name) for name in names)
    return struct.pack("!H", 0) + vector(vector(entries))


def body(*extensions: bytes) -> bytes:
    start = b"\x03\x03" + b"r" * 32 + vector(b"", 1) + vector(b"\x13\x01") + vector(b"\x00", 1)
    return start + vector(b"".join(extensions))


def message(body: bytes, *, kind: int = 1) -> bytes:
    return bytes([kind]) + vector(body, 3)


def records(data: bytes, *, size: int = 16384, kind: int = 22, version: int = 0x0301) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(struct.pack("!BHH", kind, version, len(piece)) + piece for piece in pieces)


GOOD = records(message(body(named(b"shop.example.org"))))


def test_a_real_client_is_understood() -> None:
    hello, said = Hello(), real()
    assert hello.feed(said) == "shop.example.org"
    assert hello.taken == said


def test_it_may_come_byte_by_byte() -> None:
    hello = Hello()
    *early, last = [hello.feed(bytes([byte])) for byte in real()]
    assert set(early) == {None}
    assert last == "shop.example.org"


@pytest.mark.parametrize("size", [8, 40, 100])
def test_it_may_come_in_many_records(size: int) -> None:
    said = records(message(body(named(b"shop.example.org"))), size=size)
    assert Hello().feed(said) == "shop.example.org"


def test_what_follows_in_records_of_its_own_is_kept() -> None:
    hello = Hello()
    assert hello.feed(GOOD + records(b"early data", kind=23)) == "shop.example.org"
    assert hello.taken == GOOD + records(b"early data", kind=23)


def test_the_outer_name_of_an_encrypted_hello_counts() -> None:
    encrypted = struct.pack("!H", 0xFE0D) + vector(named(b"hidden.example.org"))
    said = records(message(body(encrypted, named(b"shop.example.org"))))
    assert Hello().feed(said) == "shop.example.org"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "does not begin a TLS"),
        (b"SSH-2.0-", "does not begin a TLS"),
        (b"\x80\x2e\x01\x00\x02", "does not begin a TLS"),
        (records(b"x", kind=23), "does not begin a TLS"),
        (real(None), "names no server"),
        (records(message(body())), "names no server"),
        (records(message(body()[:-2])), "names no server"),
        (records(message(body(named(b"a.org", b"b.org")))), "names two"),
        (records(message(body(named(b"a.org"), named(b"b.org")))), "names two"),
        (records(message(body(named(b"a.org"), named(b"a.org")))), "names two"),
        (records(message(body(named(b"a.org", kind=1)))), "malformed"),
        (records(message(body(named()))), "malformed"),
        (records(message(body(named("bücher.org".encode())))), "malformed"),
        (records(message(body(named(b"a.org")) + b"more")), "malformed"),
        (records(message(body(named(b"a.org"))[:-3])), "malformed"),
        (records(message(b"")), "malformed"),
        (records(message(body(named(b"a.org")), kind=2)), "no hello"),
        (records(message(body(named(b"a.org"))) + b"more"), "follows its TLS hello"),
        (records(message(body(named(b"a.org"))) * 2), "follows its TLS hello"),
        (records(message(body(named(b"a.org"))), version=0x0201), "no TLS connection"),
        (b"\x16\x03\x01\x00\x00", "no TLS connection"),
        (b"\x16\x03\x01\xff\xff", "no TLS connection"),
        (records(b"\x01\xff\xff\xff"), "too long"),
        (records(message(b"x" * (LONGEST + 1))), "too long"),
        (records(message(body(named(b"a" * 60))), size=1), "too many pieces"),
    ],
)
def test_what_is_odd_is_refused(said: bytes, why: str) -> None:
    with pytest.raises(NotHello, match=why):
        Hello().feed(said)


def test_a_name_is_taken_as_it_is() -> None:
    for name in (b"a.org.", b"A.org", b"", b"a.org\x00.evil.net"):
        assert Hello().feed(records(message(body(named(name))))) == name.decode()


@given(some.binary(max_size=200), some.integers(0, len(GOOD)))
def test_garbage_is_refused_or_waited_for_and_never_an_accident(noise: bytes, at: int) -> None:
    for said in (noise, GOOD[:at] + noise, GOOD[:at] + noise + GOOD[at:]):
        with contextlib.suppress(NotHello):
            Hello().feed(said)
