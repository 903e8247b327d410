"""A connection to a host of the internet: looked up once, checked, and made to the very address that was.

All answers must be open to all: a name that means a neighbour as well is refused whole.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from salver_server.gateway.exchange import Refused
from salver_server.gateway.web.addresses import is_open
from salver_server.kit.hosts import host_name

PORT = 443
"""The only one: what is spoken there is encrypted, and says whom it is meant for."""
LOOKUPS = 8
"""At a time, of all sessions: each holds a thread, for as long as the system pleases."""
LOOKING_UP = 10.0
CONNECTING = 5.0
"""Seconds for one address."""
MOST_TRIED = 4
"""Addresses of one host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rim:
    """What lies between us and the internet."""

    lookup: Callable[[str], Awaitable[Sequence[str]]]
    """Addresses of a host; raises OSError."""
    connect: Callable[[str, int], Awaitable[socket.socket]]
    """A connection to an address; raises OSError."""
    trust: Callable[[], ssl.SSLContext]
    """Whose certificates count. Slow the first time."""


def refused(host: str, why: str, *, status: int = 403) -> Refused:
    failed = "does not let you reach" if status == 403 else "cannot reach"
    return Refused(status, "web_refused", f"Salver {failed} {host}: {why}.")


def checked(text: str) -> str:
    """The host in its one spelling; raises `Refused`."""
    try:
        return host_name(text)
    except ValueError as exc:
        raise refused(shown(text), str(exc)) from exc


def shown(text: str) -> str:
    """What a sandbox wrote, for people and logs."""
    return ascii(text if len(text) <= 80 else f"{text[:80]}…")


async def dial(host: str, rim: Rim) -> socket.socket:
    """Connected to one of the host's addresses; raises `Refused`."""
    addresses = await _looked_up(host, rim)
    cause = "nobody answers there"
    for address in addresses[:MOST_TRIED]:
        try:
            async with asyncio.timeout(CONNECTING):
                return await rim.connect(address, PORT)
        except TimeoutError:
            cause = f"no connection within {CONNECTING:.0f} s"
        except OSError as exc:
            cause = (exc.strerror or "it cannot be connected to").lower()
    raise refused(host, cause, status=502)


async def _looked_up(host: str, rim: Rim) -> Sequence[str]:
    try:
        async with asyncio.timeout(LOOKING_UP):
            found = await rim.lookup(host)
    except TimeoutError as exc:
        raise refused(
            host, f"its name was not found within {LOOKING_UP:.0f} s", status=502
        ) from exc
    except OSError as exc:
        raise refused(host, "its name cannot be looked up", status=502) from exc
    if not found:
        raise refused(host, "its name has no address", status=502)
    if not all(is_open(address) for address in found):
        raise refused(host, "its name leads to an address that is not on the public internet")
    return found


@asynccontextmanager
async def open_rim() -> AsyncGenerator[Rim]:
    """The real one."""
    threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="gateway.lookup")
    trusted: list[ssl.SSLContext] = []

    async def lookup(host: str) -> list[str]:
        # The dot at its end keeps the system from trying the name below its own domains.
        found = await asyncio.get_running_loop().run_in_executor(
            threads, lambda: socket.getaddrinfo(f"{host}.", PORT, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))

    def trust() -> ssl.SSLContext:
        if not trusted:
            import httpx2  # slow to import; what model calls trust

            trusted.append(httpx2.create_ssl_context(trust_env=False))
        return trusted[0]

    try:
        yield Rim(lookup=lookup, connect=connect, trust=trust)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


async def connect(address: str, port: int) -> socket.socket:
    """Connected to this address, which is not one of this computer's own; raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
        # A computer may have an address that is open to all; what it serves itself is meant for others.
        if sock.getsockname()[0] == sock.getpeername()[0]:
            raise OSError(0, "it is this computer")
        stack.pop_all()
        return sock
