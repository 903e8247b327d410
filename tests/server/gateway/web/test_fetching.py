"""Pages that the gateway reads for a sandbox, from real TLS servers of a small internet."""

import asyncio
import gzip
import logging
import zlib
from collections.abc import AsyncGenerator

import pytest

from salver_server.clock import SystemClock
from salver_server.gateway.web import MOST, Reach, fetching
from tests.server.gateway.web.conftest import (
    ADDRESS,
    HOST,
    SESSION,
    TOKEN,
    Internet,
    Session,
    answered,
    opened,
)
from tests.server.gateway.web.test_tunnel import ANSWERS

OTHER, OTHER_ADDRESS = "news.example.net", "2606:4700::1"


def page(body: bytes, *more: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(head).encode() + body


def moving(location: str, *, status: str = "302 Found") -> bytes:
    return page(b"gone", f"Location: {location}", status=status)


@pytest.fixture
async def session(internet: Internet) -> AsyncGenerator[Session]:
    """Its agent may read whatever is public."""
    async with opened(internet, SystemClock()) as session:
        session.reach = Reach(level="public")
        yield session


async def test_a_public_page_is_read_as_it_is(
    session: Session, internet: Internet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = page(b"<p>hello", "Content-Type: text/html; charset=utf-8", "Set-Cookie: a=b")
    async with internet.server(internet.saying(answer)):
        found = await session.fetched(f"https://{HOST}/a/b?c=d&e=f#there")
    assert (found.status, found.body) == (200, b"<p>hello")
    assert found.headers == {
        "x-salver-url": f"https://{HOST}/a/b?c=d&e=f",
        "content-length": "8",
        "content-type": "text/html; charset=utf-8",
        "connection": "close",
    }
    assert internet.looked_up == [HOST]
    assert internet.dialled == [(ADDRESS, 443)]
    assert "page fetched" in [record.message for record in caplog.records]


async def test_the_host_is_told_nothing_of_the_session(
    session: Session, internet: Internet
) -> None:
    async with internet.server(internet.saying(page(b""))):
        head = f"GET /web?url=https://{HOST}/ HTTP/1.1\r\nhost: gateway\r\ncookie: a=b\r\n"
        more = f"referer: x\r\nx-salver-turn: 7\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
        assert (await session.exchanged((head + more).encode())).startswith(b"HTTP/1.1 200 ")
    assert internet.requests[0].split("\r\n") == [
        "GET / HTTP/1.1",
        f"host: {HOST}",
        *(f"{name}: {value}" for name, value in fetching.HEADERS),
        "",
        "",
    ]


async def test_only_the_head_is_asked_for_where_that_is_wanted(
    session: Session, internet: Internet
) -> None:
    async with internet.server(internet.saying(b"HTTP/1.1 404 No\r\nContent-Length: 70\r\n\r\n")):
        found = await session.fetched(f"https://{HOST}/", method="HEAD")
    assert (found.status, found.body) == (404, b"")
    assert internet.requests[0].startswith("HEAD / HTTP/1.1\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
async def test_a_page_is_only_read(session: Session, internet: Internet, method: str) -> None:
    found = await session.fetched(f"https://{HOST}/", method=method)
    assert found.status == 403
    assert b"only read, with GET or HEAD" in found.body
    assert internet.looked_up == []


async def test_plain_http_is_asked_for_by_https(session: Session, internet: Internet) -> None:
    async with internet.server(internet.saying(page(b"safe"))):
        for url in (f"http://{HOST}", f"HTTP://{HOST}:80/", f"https://{HOST}:443"):
            found = await session.fetched(url)
            assert (found.body, found.headers["x-salver-url"]) == (b"safe", f"https://{HOST}/")
    assert {port for _, port in internet.dialled} == {443}


async def test_letters_of_the_world_are_encoded(session: Session, internet: Internet) -> None:
    async with internet.server(internet.saying(page(b"")), host="xn--bcher-kva.example"):
        found = await session.fetched("https://BÜCHER.example/straße?wort=größe%20|x")
    assert found.headers["x-salver-url"] == (
        "https://xn--bcher-kva.example/stra%C3%9Fe?wort=gr%C3%B6%C3%9Fe%20%7Cx"
    )


URLS = [
    ("", "only https"),
    ("shop.example.org", "only https"),
    ("//shop.example.org/", "only https"),
    ("file:///etc/passwd", "only https"),
    ("ftp://shop.example.org/", "only https"),
    ("gopher://shop.example.org/", "only https"),
    ("data:text/html,x", "only https"),
    ("javascript:alert(1)", "only https"),
    ("unix:///run/x", "only https"),
    ("https:///path", "letters, digits and dashes"),
    ("https://user@shop.example.org/", "holds a name or password"),
    ("https://user:secret@shop.example.org/", "holds a name or password"),
    ("https://shop.example.org@evil.example.net/", "holds a name or password"),
    ("https://shop.example.org:80/", "only port 443"),
    ("https://shop.example.org:8443/", "only port 443"),
    ("https://shop.example.org:22/", "only port 443"),
    ("http://shop.example.org:443/", "only port 443"),
    ("https://shop.example.org:x/", "malformed"),
    ("https://shop.example.org:99999/", "malformed"),
    ("https://shop.example.org.", "letters, digits and dashes"),
    ("https://shop.example.org\\@evil.example.net/", "a character that no address has"),
    ("https://shop.example.org/\r\nHost: evil", "a character that no address has"),
    ("https://shop.example.org/ HTTP/1.1", "a character that no address has"),
    ("ht\ntps://shop.example.org/", "a character that no address has"),
    ("https://shop.example.org/\x00", "a character that no address has"),
    ("https://shop.example.org/" + "x" * 8000, "longer than 8000"),
    ("https://localhost/", "have a dot"),
    ("https://router/", "have a dot"),
    ("https://127.0.0.1/", "it is an address"),
    ("https://127.1/", "it is an address"),
    ("https://2130706433/", "it is an address"),
    ("https://0x7f000001/", "it is an address"),
    ("https://0177.0.0.1/", "it is an address"),
    ("https://127.0.0.1./", "letters, digits and dashes"),
    ("https://①②⑦.⓪.⓪.①/", "it is an address"),
    ("https://169.254.169.254/latest/meta-data/", "it is an address"),
    ("https://[::1]/", "it is an address"),
    ("https://[::ffff:127.0.0.1]/", "it is an address"),
    ("https://[fe80::1%25eth0]/", "it is an address"),
    ("https://[shop.example.org]/", "malformed|it is an address"),
    ("https://shop%2eexample.org/", "a name alone"),
]


@pytest.mark.parametrize(("url", "why"), URLS)
async def test_what_is_no_address_of_the_web_is_refused(
    session: Session, internet: Internet, url: str, why: str
) -> None:
    found = await session.fetched(url)
    assert found.status == 403
    assert found.headers["x-salver-code"] == "web_refused"
    assert any(words in found.body.decode() for words in why.split("|"))
    assert internet.looked_up == []


@pytest.mark.parametrize(
    "path", ["/web", "/web?", "/web?uri=https://shop.example.org/", "/web?url=%ff"]
)
async def test_a_request_without_an_address_is_refused(session: Session, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    assert answered(await session.exchanged(head.encode())).status == 403


async def test_a_stranger_reads_nothing(session: Session, internet: Internet) -> None:
    head = f"GET /web?url=https://{HOST}/ HTTP/1.1\r\nhost: x\r\nauthorization: Bearer no\r\n\r\n"
    assert answered(await session.exchanged(head.encode())).status == 401
    assert internet.looked_up == []


@pytest.mark.parametrize("answers", ANSWERS)
async def test_a_name_that_leads_to_a_neighbour_is_not_read(
    session: Session, internet: Internet, answers: list[str]
) -> None:
    internet.names[HOST] = answers
    found = await session.fetched(f"https://{HOST}/")
    assert found.status == 403
    assert b"not on the public internet" in found.body
    assert internet.dialled == []


@pytest.mark.parametrize("status", ["301 M", "302 Found", "303 See", "307 T", "308 P"])
async def test_a_redirect_is_followed(session: Session, internet: Internet, status: str) -> None:
    there = moving(f"http://{OTHER}/new?x=1", status=status)
    async with (
        internet.server(internet.saying(there)),
        internet.server(internet.saying(page(b"new")), host=OTHER, address=OTHER_ADDRESS),
    ):
        found = await session.fetched(f"https://{HOST}/old")
    assert (found.body, found.headers["x-salver-url"]) == (b"new", f"https://{OTHER}/new?x=1")
    assert internet.looked_up == [HOST, OTHER]


async def test_a_redirect_within_the_host_is_followed(session: Session, internet: Internet) -> None:
    answers = [moving("../b?c"), page(b"there")]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await internet.saying(answers.pop(0))(reader, writer)

    async with internet.server(serve):
        found = await session.fetched(f"https://{HOST}/a/x")
    assert found.headers["x-salver-url"] == f"https://{HOST}/b?c"


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("https://127.0.0.1/", "it is an address"),
        ("https://[::1]/", "it is an address"),
        ("http://169.254.169.254/latest/", "it is an address"),
        ("https://0x7f.1/", "it is an address"),
        ("//127.0.0.1/", "it is an address"),
        ("https://localhost/", "have a dot"),
        ("https://inside.example.org/", "not on the public internet"),
        ("file:///etc/passwd", "only https"),
        ("ftp://shop.example.org/", "only https"),
        ("javascript:x", "only https"),
        ("https://user:secret@shop.example.org/", "holds a name or password"),
        ("//user@shop.example.org/", "holds a name or password"),
        ("https://shop.example.org:8080/", "only port 443"),
        ("https://shop.example.org\\.evil.net/", "a character that no address has"),
        ("https://[/", "malformed"),
    ],
)
async def test_a_redirect_is_checked_as_the_first_address_was(
    session: Session, internet: Internet, location: str, why: str
) -> None:
    internet.names["inside.example.org"] = ["192.168.0.1"]
    async with internet.server(internet.saying(moving(location))):
        found = await session.fetched(f"https://{HOST}/")
    assert found.status in (403, 502)
    assert why in found.body.decode()
    assert internet.dialled == [(ADDRESS, 443)]


async def test_a_redirect_out_of_the_list_is_refused(session: Session, internet: Internet) -> None:
    session.reach = Reach(level="listed", sites=(HOST,))
    async with internet.server(internet.saying(moving(f"https://{OTHER}/"))):
        found = await session.fetched(f"https://{HOST}/")
    assert found.status == 403
    assert b"news.example.net: it is not among the 'sites:'" in found.body
    assert internet.looked_up == [HOST]


async def test_a_redirect_to_itself_ends(session: Session, internet: Internet) -> None:
    async with internet.server(internet.saying(moving("/"))):
        found = await session.fetched(f"https://{HOST}/")
    assert found.status == 502
    assert b"redirects more than 5 times" in found.body
    assert len(internet.requests) == fetching.MOST_REDIRECTS + 1


async def test_another_name_at_the_checked_address_does_not_pass_for_it(
    session: Session, internet: Internet
) -> None:
    async with internet.server(internet.saying(page(b"evil")), host=OTHER, address=ADDRESS):
        internet.names[HOST] = [ADDRESS]
        found = await session.fetched(f"https://{HOST}/")
    assert found.status == 502
    assert b"its certificate is not trusted" in found.body
    assert internet.requests == []


async def test_who_speaks_no_tls_is_said_to(session: Session, internet: Internet) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-nothing\r\n")
        writer.close()

    async with internet.server(hang_up, plain=True):
        found = await session.fetched(f"https://{HOST}/")
    assert found.status == 502
    assert b"does not speak TLS" in found.body


async def test_a_large_page_is_cut_and_that_is_said(
    session: Session, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LARGEST", 1000)
    async with internet.server(internet.saying(page(b"x" * 100_000))):
        found = await session.fetched(f"https://{HOST}/")
    assert found.body == b"x" * 1000
    assert found.headers["x-salver-cut"] == "1000"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", gzip.compress(b"x" * 10_000_000)), ("deflate", zlib.compress(b"x" * 10_000_000))],
)
async def test_what_is_packed_all_the_same_is_unpacked_within_bounds(
    session: Session, internet: Internet, encoding: str, body: bytes
) -> None:
    async with internet.server(internet.saying(page(body, f"Content-Encoding: {encoding}"))):
        found = await session.fetched(f"https://{HOST}/")
    assert found.body == b"x" * fetching.LARGEST
    assert "x-salver-cut" in found.headers


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "no HTTP that can be read"),
        (b"SSH-2.0-x\r\n\r\n", "no HTTP that can be read"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "no HTTP that can be read"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\nhalf", "no HTTP that can be read"),
        (page(b"x", "Content-Encoding: br"), "an encoding nobody asked for"),
        (page(b"no gzip", "Content-Encoding: gzip"), "no HTTP that can be read"),
        (page(b"x", "Content-Length: 7"), "no HTTP that can be read"),
    ],
)
async def test_an_answer_that_is_none_is_said_to_be(
    session: Session, internet: Internet, answer: bytes, why: str
) -> None:
    async with internet.server(internet.saying(answer)):
        found = await session.fetched(f"https://{HOST}/")
    assert found.status == 502
    assert why in found.body.decode()


async def test_who_never_answers_is_not_waited_for(
    session: Session, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FETCHING", 0.1)
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    async with internet.server(silent):
        found = await session.fetched(f"https://{HOST}/")
        await gone.wait()
    assert found.status == 504
    assert b"longer than" in found.body


async def test_a_session_reads_only_so_many_pages_at_a_time(
    session: Session, internet: Internet
) -> None:
    asked, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.release()
        await go_on.wait()
        await internet.saying(page(b"late"))(reader, writer)

    async with internet.server(slow), asyncio.TaskGroup() as tasks:
        reading = [
            tasks.create_task(session.fetched(f"https://{HOST}/")) for _ in range(MOST["fetch"])
        ]
        for _ in reading:
            await asked.acquire()
        assert (await session.fetched(f"https://{HOST}/")).status == 503
        go_on.set()
    assert [task.result().status for task in reading] == [200] * MOST["fetch"]


async def test_the_end_of_a_session_ends_what_it_reads(
    session: Session, internet: Internet
) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()
        gone.set()

    async with internet.server(silent), asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(session.exchanged(
            f"GET /web?url=https://{HOST}/ HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode()
        ))  # fmt: skip
        await asked.wait()
        await session.gateway.close(SESSION)
        await gone.wait()
    assert reading.result() == b""


@pytest.mark.parametrize(
    ("reach", "why"),
    [
        (Reach(level="none", sites=(HOST,)), "web: none"),
        (Reach(level="listed"), "lists no 'sites:'"),
        (Reach(level="listed", sites=(OTHER,)), "not among"),
        (Reach(level="public", waits="Ask Ada"), "Ask Ada"),
    ],
)
async def test_the_level_decides(
    session: Session, internet: Internet, reach: Reach, why: str
) -> None:
    session.reach = reach
    found = await session.fetched(f"https://{HOST}/")
    assert found.status == 403
    assert why in found.body.decode()
    assert internet.looked_up == []
