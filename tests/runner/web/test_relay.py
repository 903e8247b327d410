"""Programs that use a proxy on loopback, and the gateway's unix socket behind it."""

import asyncio
import contextlib
from urllib.parse import urlsplit

import pytest

from tests.runner.web.conftest import TOKEN, FakeGateway

AGREED = b"HTTP/1.1 200 Connection established\r\n\r\n"


async def asked(
    gateway: FakeGateway, head: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(await gateway.web.proxy())
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(head)
    return reader, writer


async def test_a_tunnel_is_asked_for_with_the_sessions_token(gateway: FakeGateway) -> None:
    gateway.answer = AGREED
    head = b"CONNECT a.org:443 HTTP/1.1\r\nHost: a.org\r\nProxy-Authorization: Basic eDp5\r\n\r\n"
    reader, writer = await asked(gateway, head)
    assert await reader.readuntil(b"\r\n\r\n") == AGREED
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    (head,) = gateway.heads
    assert head == (
        "CONNECT a.org:443 HTTP/1.1\r\nhost: gateway\r\n"
        f"proxy-authorization: Bearer {TOKEN}\r\n\r\n"
    )


async def test_a_refusal_comes_back_as_it_is(gateway: FakeGateway) -> None:
    gateway.page(b"no", status=403)
    reader, writer = await asked(gateway, b"CONNECT a.org:443 HTTP/1.1\r\n\r\n")
    assert await reader.readuntil(b"no") == gateway.answer
    writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://a.org/ HTTP/1.1\r\n\r\n",
        b"POST /openai/chat/completions HTTP/1.1\r\n\r\n",
        b"connect a.org:443 HTTP/1.1\r\n\r\n",
    ],
)
async def test_nothing_but_tunnels_is_passed_on(gateway: FakeGateway, head: bytes) -> None:
    reader, writer = await asked(gateway, head)
    assert (await reader.read()).startswith(b"HTTP/1.1 405 Only https goes out")
    writer.close()
    assert gateway.heads == []


async def test_a_program_that_says_nothing_of_sense_is_cut_off(gateway: FakeGateway) -> None:
    reader, writer = await asked(gateway, b"x" * 200_000)
    with contextlib.suppress(ConnectionResetError):  # the same: what it said was not even read
        assert await reader.read() == b""
    writer.close()
    assert gateway.heads == []


async def test_a_server_that_restarts_is_said_to_be_away(gateway: FakeGateway) -> None:
    gateway.path.unlink()
    reader, writer = await asked(gateway, b"CONNECT a.org:443 HTTP/1.1\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 503 Salver is away")
    writer.close()


async def test_there_is_one_proxy_for_all_commands(gateway: FakeGateway) -> None:
    one, other = await asyncio.gather(gateway.web.proxy(), gateway.web.proxy())
    assert one == other
    assert urlsplit(one).hostname == "127.0.0.1"
