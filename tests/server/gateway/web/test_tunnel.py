"""Tunnels over the gateway's own door, to real TLS servers of a small internet."""

import asyncio
import base64
import logging
import ssl

import pytest

from salver_server.gateway.web import MOST, Reach, tunnel
from salver_server.gateway.web.dial import connect
from tests.fakes.clock import FakeClock
from tests.server.gateway.web.conftest import (
    ADDRESS,
    HOST,
    SESSION,
    TOKEN,
    Client,
    Internet,
    Session,
    echo,
    opened,
)
from tests.server.gateway.web.test_hello import GOOD, real, records


async def secured(client: Client, internet: Internet, host: str = HOST) -> None:
    """TLS from end to end, as a program in a sandbox does it."""
    assert client.status == 200, await client.why()
    await client.writer.start_tls(internet.authority.trust, server_hostname=host)


async def said(client: Client, text: bytes) -> bytes:
    client.writer.write(text)
    return await client.reader.readexactly(len(text))


async def test_a_listed_host_is_reached_through_a_tunnel(
    session: Session, internet: Internet
) -> None:
    async with internet.server(echo):
        client = await session.connect(f"{HOST}:443")
        await secured(client, internet)
        assert await said(client, b"hello") == b"hello"
    assert internet.looked_up == [HOST]
    assert internet.dialled == [(ADDRESS, 443)]


async def test_much_passes_both_ways_and_none_of_it_is_lost(
    session: Session, internet: Internet
) -> None:
    async with internet.server(echo):
        client = await session.connect(f"{HOST}:443")
        await secured(client, internet)
        much = bytes(range(256)) * 20_000
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(client.reader.readexactly(len(much)))
            client.writer.write(much)
            await client.writer.drain()
        assert reading.result() == much


def basic(token: str) -> str:
    return "Proxy-Authorization: Basic " + base64.b64encode(f"salver:{token}".encode()).decode()


@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        (f"Proxy-Authorization: Bearer {TOKEN}", 200),
        (f"proxy-authorization: bearer {TOKEN}", 200),
        (basic(TOKEN), 200),
        (basic("another"), 401),
        ("Proxy-Authorization: Basic !!!", 401),
        ("Proxy-Authorization: Bearer another", 401),
        (f"Proxy-Authorization: Digest {TOKEN}", 401),
        ("X-Nothing: here", 401),
    ],
)
async def test_only_the_session_gets_a_tunnel(
    session: Session, internet: Internet, credentials: str, status: int
) -> None:
    async with internet.server(echo):
        client = await session.connect(f"{HOST}:443", credentials=credentials)
        assert client.status == status


NO_NAME = "letters, digits and dashes"
TARGETS = [
    ("evil.example.net:443", "not among the 'sites:' of AGENT.md, which are shop.example.org"),
    (f"a.{HOST}:443", "not among"),
    (f"{HOST}.evil.example.net:443", "not among"),
    ("bücher.example.org:443", "could not read"),
    (f"{HOST}:80", "only port 443"),
    (f"{HOST}:22", "only port 443"),
    (f"{HOST}:0443", "only port 443"),
    (f"{HOST}:443:80", "only port 443"),
    (f"{HOST}:+443", "only port 443"),
    (f"{HOST}:65979", "only port 443"),
    (f"{HOST}:", "only port 443"),
    (HOST, "only port 443"),
    (f"{HOST}.:443", NO_NAME),
    (f"{HOST}\x00:443", "could not read"),
    (f"user@{HOST}:443", NO_NAME),
    (f"{HOST}/:443", NO_NAME),
    (f"{HOST}%00:443", "a name alone"),
    (f"{HOST}#:443", NO_NAME),
    ("localhost:443", "have a dot"),
    ("127.0.0.1:443", "it is an address"),
    ("127.1:443", "it is an address"),
    ("2130706433:443", "it is an address"),
    ("0x7f000001:443", "it is an address"),
    ("0x7f.1:443", "it is an address"),
    ("0177.0.0.1:443", "it is an address"),
    ("127.0.0.1.:443", NO_NAME),
    ("169.254.169.254:443", "it is an address"),
    ("[::1]:443", "a name alone"),
    ("[::ffff:169.254.169.254]:443", "a name alone"),
    ("[fe80::1%25eth0]:443", "a name alone"),
    ("::1:443", "a name alone"),
]


@pytest.mark.parametrize(("target", "why"), TARGETS)
async def test_what_is_not_the_listed_host_on_its_port_is_out_of_reach(
    session: Session, internet: Internet, target: str, why: str
) -> None:
    async with internet.server(echo):
        client = await session.connect(target)
        assert client.status in (400, 403)
        assert why in (await client.why()).replace("\\\\", "\\")
    assert internet.looked_up == []
    assert internet.dialled == []


async def test_a_refusal_says_which_host_and_why_in_every_place(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = await session.connect("evil.example.net:443")
    words = "Salver does not let you reach evil.example.net: it is not among the 'sites:'"
    assert client.answer.startswith(f"HTTP/1.1 403 {words}")
    assert "x-salver-code: web_refused" in client.answer
    assert words in await client.why()
    (record,) = [record for record in caplog.records if record.message == "web refused"]
    assert words in record.__dict__["why"]
    assert record.__dict__["session"] == SESSION


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (f"GET https://{HOST}/ HTTP/1.1", "only https, by CONNECT"),
        (f"GET http://{HOST}/ HTTP/1.1", "only https, by CONNECT"),
        ("POST http://169.254.169.254/latest HTTP/1.1", "only https, by CONNECT"),
        (f"CONNECT https://{HOST}:443 HTTP/1.1", "a name alone"),
        ("CONNECT / HTTP/1.1", "only port 443"),
    ],
)
async def test_an_absolute_form_is_refused(
    session: Session, internet: Internet, request_: str, why: str
) -> None:
    head = f"{request_}\r\nHost: {HOST}\r\nProxy-Authorization: Bearer {TOKEN}\r\n\r\n"
    answer = await session.exchanged(head.encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert why.encode() in answer
    assert internet.looked_up == []


@pytest.mark.parametrize(
    "more",
    [
        "Content-Length: 0",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Bad Name: x",
        ": x",
        " folded",
        "X: a\x00b",
        "X: " + "x" * 200_000,
    ],
)
async def test_nothing_is_smuggled_in_a_head(
    session: Session, internet: Internet, more: str
) -> None:
    async with internet.server(echo):
        client = await session.connect(f"{HOST}:443", more + "\r\n\r\nhello")
        assert client.status in (400, 401, 413)
    assert internet.dialled == []


async def test_what_a_client_says_too_early_is_taken_for_its_hello(
    session: Session, internet: Internet
) -> None:
    async with internet.server(echo, plain=True):
        head = f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer {TOKEN}\r\n"
        reader, writer = await asyncio.open_unix_connection(str(session.path))
        writer.write(head.encode() + b"\r\n" + GOOD)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(len(GOOD)) == GOOD
        writer.close()


ANSWERS = [
    ["10.0.0.1"],
    ["127.0.0.1"],
    ["169.254.169.254"],
    ["::1"],
    ["::ffff:10.0.0.1"],
    ["64:ff9b::7f00:1"],
    ["fe80::1%2"],
    [ADDRESS, "192.168.0.1"],
    ["192.168.0.1", ADDRESS],
    [ADDRESS, "fd00::1"],
    [ADDRESS] * 30 + ["127.0.0.1"],
    ["nonsense"],
]


@pytest.mark.parametrize("answers", ANSWERS)
async def test_a_name_that_leads_to_a_neighbour_is_out_of_reach(
    session: Session, internet: Internet, answers: list[str]
) -> None:
    internet.names[HOST] = answers
    client = await session.connect(f"{HOST}:443")
    assert client.status == 403
    assert "not on the public internet" in await client.why()
    assert internet.dialled == []


async def test_a_name_is_looked_up_once_and_its_checked_address_is_dialled(
    session: Session, internet: Internet
) -> None:
    async with internet.server(echo):
        rebound = internet.names[HOST]

        client = await session.connect(f"{HOST}:443")
        rebound[:] = ["127.0.0.1"]
        await secured(client, internet)
        assert await said(client, b"hello") == b"hello"
        client.writer.close()
    assert internet.looked_up == [HOST]
    assert internet.dialled == [(ADDRESS, 443)]


async def test_one_address_after_the_other_is_tried(session: Session, internet: Internet) -> None:
    internet.names[HOST] = ["2606:4700::1", ADDRESS]
    async with internet.server(echo):
        client = await session.connect(f"{HOST}:443")
        assert client.status == 200
    assert internet.dialled == [("2606:4700::1", 443), (ADDRESS, 443)]


@pytest.mark.parametrize(
    ("answers", "why"),
    [(None, "cannot be looked up"), ([], "no address"), ([ADDRESS], "connection refused")],
)
async def test_who_is_not_there_is_said_to_be(
    session: Session, internet: Internet, answers: list[str] | None, why: str
) -> None:
    if answers is not None:
        internet.names[HOST] = answers
    client = await session.connect(f"{HOST}:443")
    assert client.status == 502
    assert why in await client.why()


@pytest.mark.parametrize(
    "hello",
    [
        real("evil.example.net"),
        real(f"a.{HOST}"),
        real(None),
        b"GET / HTTP/1.1\r\nHost: shop.example.org\r\n\r\n",
        b"SSH-2.0-x\r\n",
        records(b"\x01\x00\x00\x02xx"),
        GOOD[:-1] + b"x",
    ],
)
async def test_who_says_hello_to_somebody_else_is_cut_off(
    session: Session, internet: Internet, hello: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    heard: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    async with internet.server(hear, plain=True):
        client = await session.connect(f"{HOST}:443")
        client.writer.write(hello)
        assert await client.reader.read() == tunnel.UNRECOGNIZED_NAME
    assert heard in ([b""], [])
    assert [record.message for record in caplog.records].count("web refused") == 1


async def test_a_real_client_is_told_that_its_name_is_not_the_one(
    session: Session, internet: Internet
) -> None:
    async with internet.server(echo):
        client = await session.connect(f"{HOST}:443")
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            await secured(client, internet, "other.example.org")


async def test_who_says_nothing_is_not_waited_for(
    session: Session, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "GREETING", 0.05)
    async with internet.server(echo):
        client = await session.connect(f"{HOST}:443")
        client.writer.write(GOOD[:40])
        assert await client.reader.read() == tunnel.UNRECOGNIZED_NAME


async def test_the_end_of_one_direction_is_passed_on(session: Session, internet: Internet) -> None:
    async def last_word(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(b"heard")
        await writer.drain()
        writer.close()

    async with internet.server(last_word, plain=True):
        client = await session.connect(f"{HOST}:443")
        client.writer.write(GOOD)
        client.writer.write_eof()
        assert await client.reader.read() == b"heard"


async def test_too_much_is_cut_off(
    session: Session, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "MOST_BYTES", 3 * len(GOOD))
    async with internet.server(echo, plain=True):
        client = await session.connect(f"{HOST}:443")
        client.writer.write(GOOD)
        assert await client.reader.readexactly(len(GOOD)) == GOOD
        client.writer.write(b"x" * 2 * len(GOOD))
        assert not await client.reader.read()


@pytest.mark.parametrize("cause", ["idle", "mind"])
async def test_what_is_idle_or_no_longer_allowed_is_ended(
    internet: Internet, cause: str, clock: FakeClock
) -> None:
    async with opened(internet, clock) as session, internet.server(echo, plain=True):
        client = await session.connect(f"{HOST}:443")
        client.writer.write(GOOD)
        await client.reader.readexactly(len(GOOD))
        if cause == "mind":
            session.reach = Reach(level="none")
        await clock.asleep()
        clock.advance(tunnel.LOOK if cause == "mind" else tunnel.IDLE + tunnel.LOOK)
        assert not await client.reader.read()


async def test_the_end_of_a_session_ends_its_tunnels(session: Session, internet: Internet) -> None:
    async with internet.server(echo):
        client = await session.connect(f"{HOST}:443")
        await secured(client, internet)
        await session.gateway.close(SESSION)
        with pytest.raises(ConnectionError):
            await said(client, b"hello")


async def test_tunnels_are_limited_and_leave_room_for_model_calls(
    session: Session, internet: Internet
) -> None:
    async with internet.server(echo):
        open_ = [await session.connect(f"{HOST}:443") for _ in range(MOST["tunnel"])]
        assert [client.status for client in open_] == [200] * MOST["tunnel"]
        one_more = await session.connect(f"{HOST}:443")
        assert one_more.status == 503
        assert "16 connections are open already" in await one_more.why()
        head = f"GET /elsewhere HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
        assert (await session.exchanged(head.encode())).startswith(b"HTTP/1.1 404 ")
        open_[0].writer.close()
        while (again := await session.connect(f"{HOST}:443")).status != 200:
            again.writer.close()


@pytest.mark.parametrize(
    ("reach", "why"),
    [
        (Reach(level="none", sites=(HOST,)), "web: none"),
        (Reach(level="listed"), "lists no 'sites:'"),
        (Reach(level="public"), "with the fetch tool"),
        (Reach(level="listed", sites=(HOST,), waits="Ask Ada"), "Ask Ada"),
    ],
)
async def test_the_level_decides(
    session: Session, internet: Internet, reach: Reach, why: str
) -> None:
    async with internet.server(echo):
        session.reach = reach
        client = await session.connect(f"{HOST}:443")
        assert client.status == 403
        assert why in await client.why()
        session.reach = Reach(level="public", sites=(f"*.{HOST.partition('.')[2]}",))
        client = await session.connect(f"{HOST}:443")
        assert client.status == 200  # a change of mind counts at once


async def test_the_real_connection_is_never_to_this_computer_itself() -> None:
    async with await asyncio.start_server(echo, "127.0.0.1") as server:
        with pytest.raises(OSError, match="it is this computer"):
            await connect("127.0.0.1", server.sockets[0].getsockname()[1])
