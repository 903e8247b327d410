"""Reading one page of the web for a sandbox: GET or HEAD, bounded in size and time, and nothing told.

What goes out is made here alone: no header, cookie or credential of the sandbox, and every redirect is
asked about as the first address was.
"""

import asyncio
import ssl
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import h11

from salver_server.gateway.web.dial import Rim, dial, refused
from salver_server.gateway.web.page import Page, moved

LARGEST = 5_000_000
"""Bytes of a page that are passed on; the rest is cut off, and that is said."""
MOST_REDIRECTS = 5
FETCHING = 60.0
"""Seconds for all of it."""
LONGEST_HEAD = 64 * 1024
REDIRECTS = (301, 302, 303, 307, 308)
HEADERS = (
    ("user-agent", "Mozilla/5.0 (compatible; Salver)"),
    ("accept", "text/html,application/xhtml+xml,application/json;q=0.9,text/*;q=0.8,*/*;q=0.5"),
    ("accept-encoding", "identity"),
    ("connection", "close"),
)
BY_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
PIECE = 65536

May = Callable[[str], Awaitable[None]]
"""Raises `Refused` for a host that is out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    url: str
    """Where it was found in the end."""
    status: int
    type: str
    body: bytes
    cut: bool
    """Whether there was more."""


async def fetch(first: Page, method: str, *, rim: Rim, may: May) -> Fetched:
    """Raises `Refused`."""
    here = first
    try:
        async with asyncio.timeout(FETCHING):
            trust = await asyncio.to_thread(rim.trust)
            for _ in range(MOST_REDIRECTS + 1):
                await may(here.host)
                found = await _asked(here, method, rim=rim, trust=trust)
                if isinstance(found, Fetched):
                    return found
                here = found
    except TimeoutError as exc:
        raise refused(here.host, f"it took longer than {FETCHING:.0f} s", status=504) from exc
    raise refused(here.host, f"it redirects more than {MOST_REDIRECTS} times", status=502)


async def _asked(here: Page, method: str, *, rim: Rim, trust: ssl.SSLContext) -> Fetched | Page:
    """What is there, or where it is instead."""
    sock = await dial(here.host, rim)
    try:
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=trust, server_hostname=here.host
        )
    except BaseException as exc:
        sock.close()
        if isinstance(exc, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted ({exc.verify_message})"
            raise refused(here.host, why, status=502) from exc
        if isinstance(exc, OSError):
            raise refused(here.host, "it does not speak TLS there", status=502) from exc
        raise
    try:
        return await _Exchange(reader, writer, here).run(method)
    except (h11.RemoteProtocolError, zlib.error) as exc:
        raise refused(here.host, "its answer is no HTTP that can be read", status=502) from exc
    except OSError as exc:
        raise refused(here.host, "it broke off", status=502) from exc
    finally:
        writer.transport.abort()


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, here: Page
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._here = here
        self._conn = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)

    async def run(self, method: str) -> Fetched | Page:
        here = self._here
        request = h11.Request(
            method=method, target=here.target, headers=[("host", here.host), *HEADERS]
        )
        for event in (request, h11.EndOfMessage()):
            self._writer.write(self._conn.send(event) or b"")
        while isinstance(answer := await self._event(), h11.InformationalResponse):
            continue
        if not isinstance(answer, h11.Response):
            raise ConnectionAbortedError
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers
        }
        if answer.status_code in REDIRECTS and "location" in headers:
            return moved(here, headers["location"])
        body, cut = await self._body(headers.get("content-encoding", "identity").lower())
        return Fetched(
            url=here.url,
            status=answer.status_code,
            type=headers.get("content-type", ""),
            body=body,
            cut=cut,
        )

    async def _body(self, encoding: str) -> tuple[bytes, bool]:
        """Up to the largest, and whether there was more."""
        if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
            raise refused(self._here.host, "it answers in an encoding nobody asked for", status=502)
        unpack = None if encoding in ("identity", "") else zlib.decompressobj(BY_GZIP_OR_ZLIB)
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            data = bytes(event.data)
            body += data if unpack is None else unpack.decompress(data, LARGEST + 1)
            if len(body) > LARGEST:
                return bytes(body[:LARGEST]), True
        return bytes(body), False

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._conn.next_event()) is h11.NEED_DATA:
            self._conn.receive_data(await self._reader.read(PIECE))
        return event
