"""The web as a sandbox may reach it: tunnels to the sites that are listed for its agent, and pages that
the gateway itself reads where more is public. What is refused says which host, and why.
"""

import contextlib
import logging
import socket
from base64 import b64decode
from binascii import Error as NotBase64
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager

from salver_server.clock import Clock
from salver_server.gateway.exchange import Exchange, Head, Refused
from salver_server.gateway.web import fetching, levels
from salver_server.gateway.web.dial import PORT, Rim, checked, dial, open_rim, refused, shown
from salver_server.gateway.web.levels import Level, Reach, Way
from salver_server.gateway.web.page import asked, page
from salver_server.gateway.web.tunnel import UNRECOGNIZED_NAME, Ends, Tunnel, greeted
from salver_server.ids import SessionId
from salver_server.kit.pace import Pace

__all__ = [
    "MOST_WAYS",
    "Level",
    "Reach",
    "ReachOf",
    "Web",
    "nowhere",
    "open_web",
    "proxy_token",
    "way_of",
]

logger = logging.getLogger(__name__)

ReachOf = Callable[[SessionId], Awaitable[Reach]]
"""Asked anew for every call, so that a change of mind counts at once."""


async def nowhere(_: SessionId) -> Reach:
    return Reach(level="none")


MOST: dict[Way, int] = {"tunnel": 16, "fetch": 3}
"""Of one session at a time; a page is held in memory until it is passed on."""
MOST_WAYS = sum(MOST.values())


def way_of(head: Head) -> Way | None:
    """How this request wants to reach the web; None for one that does not."""
    if head.method == "CONNECT" or "://" in head.path.partition("?")[0]:
        return "tunnel"
    return "fetch" if head.path.partition("?")[0] == "/web" else None


def proxy_token(head: Head) -> str:
    """The session's token as programs send it to a proxy; from an address it comes as the password."""
    scheme, _, given = head.headers.get("proxy-authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            return given.strip()
        case "basic":
            try:
                return b64decode(given.strip(), validate=True).decode("latin-1").partition(":")[2]
            except NotBase64:
                return ""
        case _:
            return ""


@asynccontextmanager
async def open_web(clock: Clock, reach: ReachOf) -> AsyncGenerator["Web"]:
    async with open_rim() as rim:
        yield Web(rim, clock, reach)


class Web:
    def __init__(self, rim: Rim, clock: Clock, reach: ReachOf) -> None:
        self._rim = rim
        self._clock = clock
        self._reach = reach
        self._open: Counter[tuple[SessionId, Way]] = Counter()

    async def tunnel(
        self, exchange: Exchange, head: Head, session: SessionId, refusals: Pace
    ) -> bool:
        """Answer; false when it was cut off in the middle."""
        try:
            with self._one_of(session, "tunnel"):
                host = _tunnelled(head)
                await self._ask(session, host, "tunnel")
                outside = await dial(host, self._rim)
                with outside:
                    return await self._carry(exchange, session, host, outside)
        except Refused as refusal:
            _log(session, refusal)
            await refusals.keep()
            if exchange.status:
                # Too late for words: the client takes whatever comes for the server's.
                exchange.writer.write(UNRECOGNIZED_NAME)
                return True
            # Programs show their users nothing else of an answer to CONNECT.
            return await exchange.refuse(refusal, reason=str(refusal))

    async def fetch(
        self, exchange: Exchange, head: Head, session: SessionId, refusals: Pace
    ) -> bool:
        """Answer, whole."""
        try:
            with self._one_of(session, "fetch"):
                if head.method not in ("GET", "HEAD"):
                    raise refused(shown(head.path), "pages are only read, with GET or HEAD")
                first = page(asked(head.path))

                async def may(host: str) -> None:
                    await self._ask(session, host, "fetch")

                found = await fetching.fetch(first, head.method, rim=self._rim, may=may)
        except Refused as refusal:
            _log(session, refusal)
            await refusals.keep()
            return await exchange.refuse(refusal)
        about = {"session": session, "url": found.url, "status": found.status}
        logger.info("page fetched", extra={**about, "bytes": len(found.body)})
        headers = [("x-salver-url", found.url), ("content-length", str(len(found.body)))]
        if found.type.isascii() and found.type.isprintable():
            headers.append(("content-type", found.type))
        if found.cut:
            headers.append(("x-salver-cut", str(fetching.LARGEST)))
        exchange.begin(found.status, headers)
        if head.method == "GET":
            await exchange.send(found.body)
        return True

    async def _carry(
        self, exchange: Exchange, session: SessionId, host: str, outside: socket.socket
    ) -> bool:
        address = outside.getpeername()[0]
        inside = Ends(reader=exchange.reader, writer=exchange.writer)
        said = await greeted(inside, host, first=exchange.hand_over())

        async def may() -> bool:
            return not levels.objection(await self._reach(session), host, "tunnel")

        began = self._clock.elapsed()
        carried = await Tunnel(self._clock, may=may).carry(inside, outside, first=said)
        logger.info(
            "tunnel ended",
            extra={
                "session": session,
                "host": host,
                "address": address,
                "end": carried.end,
                "sent": carried.sent,
                "received": carried.received,
                "seconds": round(self._clock.elapsed() - began, 3),
            },
        )
        return carried.end == "closed"

    async def _ask(self, session: SessionId, host: str, way: Way) -> None:
        """Raises `Refused` for a host that is out of the session's reach."""
        if why := levels.objection(await self._reach(session), host, way):
            raise refused(host, why)

    @contextlib.contextmanager
    def _one_of(self, session: SessionId, way: Way) -> Generator[None]:
        key = (session, way)
        if self._open[key] >= MOST[way]:
            raise refused("more", f"{MOST[way]} connections are open already", status=503)
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


def _tunnelled(head: Head) -> str:
    """The host that a tunnel is wanted to; raises `Refused`."""
    if head.method != "CONNECT":
        raise refused(shown(head.path), "through the proxy there is only https, by CONNECT")
    name, colon, port = head.path.rpartition(":")
    if not colon or port != str(PORT):
        raise refused(shown(head.path), f"only port {PORT} is let out")
    if {"content-length", "transfer-encoding"} & head.headers.keys():
        raise refused(shown(name), "a CONNECT has no body", status=400)
    return checked(name)


def _log(session: SessionId, refusal: Refused) -> None:
    logger.info(
        "web refused",
        extra={"session": session, "status": refusal.status, "why": str(refusal)},
    )
