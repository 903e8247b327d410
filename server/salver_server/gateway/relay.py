"""Passing one admitted call on to its upstream, and the answer back as it comes.

Requests and answers keep only a few harmless headers. Errors are worded here, by kind: what a library
says of a failure may quote the headers that it was given.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Iterator

import httpx2

from salver_server.gateway.scrub import Scrub
from salver_server.gateway.upstream import Target
from salver_server.gateway.wire import Head, Refused, Wire
from salver_server.ids import SessionId

logger = logging.getLogger(__name__)

SENT_ON = ("accept", "content-type", "user-agent")
PASSED_BACK = ("content-type", "retry-after", "retry-after-ms", "x-request-id")

TIMEOUTS = httpx2.Timeout(connect=10, write=60, read=330, pool=10)
"""Seconds; reading waits longer than the runner does, which knows better what to do then."""
LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=20, keepalive_expiry=30)


class Relay:
    """Holds the connections to upstreams.

    Speaks to the transport itself: a client above it would keep cookies across sessions, follow
    redirects and log addresses.
    """

    def __init__(self) -> None:
        self._transport = httpx2.AsyncHTTPTransport(limits=LIMITS)

    async def close(self) -> None:
        await self._transport.aclose()

    async def pass_on(
        self,
        wire: Wire,
        head: Head,
        body: bytes,
        target: Target,
        *,
        tail: str,
        session: SessionId,
    ) -> bool:
        """Answer the call on the wire; false when the upstream broke off in the middle."""
        scrub = Scrub(target.key.get_secret_value() if target.key else "")
        about = {"session": session, "host": target.host}
        try:
            request = _request(head, body, target, tail)
            response = await self._transport.handle_async_request(request)
        except httpx2.RequestError as exc:
            refusal = _unreachable(exc, target)
            logger.warning("a model call failed", extra={**about, "cause": str(refusal)})
            return await wire.refuse(refusal)
        try:
            if refusal := _refused(response.status_code, target):
                await _discard(response)
                return await wire.refuse(refusal)
            wire.begin(response.status_code, _passed_back(response, scrub))
            async with contextlib.aclosing(response.aiter_bytes()) as parts:
                async for part in parts:
                    await wire.send(scrub.feed(part))
            await wire.send(scrub.rest())
        except httpx2.RequestError as exc:
            cause = type(exc).__name__
            logger.warning("an upstream broke off", extra={**about, "cause": cause})
            return False
        finally:
            await response.aclose()
        return True


def _request(head: Head, body: bytes, target: Target, tail: str) -> httpx2.Request:
    headers = {
        name: value for name, value in head.headers.items() if name in SENT_ON and value.isascii()
    }
    # An encoded answer would arrive in lumps.
    headers["accept-encoding"] = "identity"
    if target.key is not None:
        headers["authorization"] = f"Bearer {target.key.get_secret_value()}"
    return httpx2.Request(
        head.method,
        target.base + tail,
        headers=headers,
        content=body if head.method == "POST" else None,
        extensions={"timeout": TIMEOUTS.as_dict()},
    )


def _passed_back(response: httpx2.Response, scrub: Scrub) -> Iterator[tuple[str, str]]:
    for name in PASSED_BACK:
        value = response.headers.get(name)
        if value is not None and not scrub.finds(value):
            yield name, value


def _refused(status: int, target: Target) -> Refused | None:
    """Our own words for answers whose bodies may quote the key, or lead elsewhere."""
    if status == 401 and target.key is None:
        return Refused(
            401,
            "key_refused",
            f"The model provider at {target.host} wants a key and none is set. Set OPENAI_API_KEY and restart Salver.",
        )
    if status == 401:
        return Refused(
            401,
            "key_refused",
            f"The model provider at {target.host} refused the key. Set a valid OPENAI_API_KEY and restart Salver.",
        )
    if status == 403:
        return Refused(
            403,
            "key_refused",
            f"The model provider at {target.host} refused this call. Check that the key may use the model.",
        )
    if 300 <= status < 400:
        return Refused(
            502,
            "upstream_redirects",
            f"The model provider at {target.host} points to another address. Set that one as OPENAI_BASE_URL and restart Salver.",
        )
    return None


async def _discard(response: httpx2.Response) -> None:
    """Read a short body to its end, so that the connection can be used again."""
    try:
        async with asyncio.timeout(1):
            length = 0
            async for part in response.aiter_raw():
                length += len(part)
                if length > 65536:
                    return
    except (TimeoutError, httpx2.RequestError):
        return


def _unreachable(exc: httpx2.RequestError, target: Target) -> Refused:
    match exc:
        case httpx2.ReadTimeout():
            return Refused(
                504,
                "upstream_timeout",
                f"The model provider at {target.host} took the call and did not answer for {TIMEOUTS.read:.0f} s. Wait a few minutes.",
            )
        case httpx2.ConnectTimeout():
            cause = f"no connection within {TIMEOUTS.connect:.0f} s"
        case httpx2.TimeoutException():
            cause = "the connection is too slow or too busy"
        case _:
            cause = _cause(exc)
    return Refused(
        502,
        "upstream_unreachable",
        f"Salver cannot reach the model provider at {target.host}: {cause}. Check the network and OPENAI_BASE_URL.",
    )


def _cause(exc: BaseException) -> str:
    """What happened, found below the library's words for it."""
    seen: BaseException | None = exc
    while seen is not None:
        match seen:
            case BaseExceptionGroup(exceptions=(first, *_)):
                seen = first
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted ({seen.verify_message})"
            case ssl.SSLError():
                return "it does not speak TLS there"
            case socket.gaierror():
                return "its name cannot be looked up"
            case OSError(errno=int(number)):
                return os.strerror(number).lower()
            case _:
                seen = seen.__cause__ or seen.__context__
    return "it closed the connection"
