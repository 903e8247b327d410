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

from salver_server.errors import Missing, SalverError, Transient
from salver_server.gateway.admission import Admitted
from salver_server.gateway.counting import Counter
from salver_server.gateway.exchange import Exchange, Refused
from salver_server.gateway.scrub import Scrub
from salver_server.gateway.upstream import Target
from salver_server.ids import SessionId
from salver_server.kit.secret import Secret

logger = logging.getLogger(__name__)

SENT_ON = ("accept", "user-agent")
PASSED_BACK = ("content-type", "retry-after", "retry-after-ms", "x-request-id", "request-id")

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
        self, exchange: Exchange, call: Admitted, counter: Counter, *, session: SessionId
    ) -> bool:
        """Answer the call; false when the upstream broke off in the middle."""
        about = {"session": session, "host": call.target.address.host}
        try:
            response, key = await self._asked(call, counter)
        except Refused as refusal:
            logger.warning("a model call failed", extra={**about, "cause": str(refusal)})
            return await exchange.refuse(refusal)
        scrub = Scrub(key.reveal() if key else "")
        try:
            exchange.begin(response.status_code, _passed_back(response, scrub))
            counts = response.status_code == 200
            counter.begin(response.headers.get("content-type", ""))
            async with contextlib.aclosing(response.aiter_bytes()) as parts:
                async for part in parts:
                    if counts:
                        # First: whoever hangs up on the last piece has still to pay for it.
                        counter.feed(part)
                    await exchange.send(scrub.feed(part))
            if counts:
                counter.end()
            await exchange.send(scrub.rest())
        except httpx2.RequestError as exc:
            cause = type(exc).__name__
            logger.warning("an upstream broke off", extra={**about, "cause": cause})
            return False
        finally:
            await response.aclose()
        return True

    async def _asked(
        self, call: Admitted, counter: Counter
    ) -> tuple[httpx2.Response, Secret | None]:
        """The beginning of an answer that may be passed on, and the key that got it; raises `Refused`."""
        target = call.target
        key = await _key(target)
        counter.asked = True
        response = await self._sent(call, key)
        if response.status_code == 401:
            # The owner may have set another one meanwhile.
            target.forget()
            await _discarded(response)
            newer = await _key(target)
            if newer == key:
                raise _key_refused(target, key)
            key, response = newer, await self._sent(call, newer)
        if refusal := _refused(response.status_code, target, key):
            await _discarded(response)
            raise refusal
        return response, key

    async def _sent(self, call: Admitted, key: Secret | None) -> httpx2.Response:
        try:
            return await self._transport.handle_async_request(_request(call, key))
        except httpx2.RequestError as exc:
            raise _unreachable(exc, call.target) from exc


async def _key(target: Target) -> Secret | None:
    try:
        return await target.key()
    except Missing as exc:
        raise _key_missing(target) from exc
    except Transient as exc:
        raise Refused(503, "key_unavailable", str(exc)) from exc
    except SalverError as exc:
        raise Refused(401, "key_unavailable", str(exc)) from exc


def _request(call: Admitted, key: Secret | None) -> httpx2.Request:
    spec = call.target.spec
    headers = {
        name: value
        for name, value in call.head.headers.items()
        if (name in SENT_ON and value.isascii())
        or (name in spec.passes and spec.passes[name].fullmatch(value))
    }
    # An encoded answer would arrive in lumps.
    headers["accept-encoding"] = "identity"
    if call.route.method == "POST":
        # It is our own writing, whatever the sandbox says of its own.
        headers["content-type"] = "application/json"
    if key is not None:
        scheme = "Bearer " if spec.key_header == "authorization" else ""
        headers[spec.key_header] = f"{scheme}{key.reveal()}"
    return httpx2.Request(
        call.route.method,
        call.target.address.base + call.route.tail,
        headers=headers,
        content=call.body if call.route.method == "POST" else None,
        extensions={"timeout": TIMEOUTS.as_dict()},
    )


def _passed_back(response: httpx2.Response, scrub: Scrub) -> Iterator[tuple[str, str]]:
    for name in PASSED_BACK:
        value = response.headers.get(name)
        if value is not None and not scrub.finds(value):
            yield name, value


def _key_missing(target: Target) -> Refused:
    return Refused(
        401,
        "key_missing",
        f"{target.title} wants a key and none is set. Set one with `{target.command}`.",
    )


def _key_refused(target: Target, key: Secret | None) -> Refused:
    if key is None:
        return _key_missing(target)
    return Refused(
        401,
        "key_refused",
        f"{target.title} refused the key. Set a valid one with `{target.command}`.",
    )


def _refused(status: int, target: Target, key: Secret | None) -> Refused | None:
    """Our own words for answers whose bodies may quote the key, or lead elsewhere."""
    if status == 401:
        return _key_refused(target, key)
    if status == 403:
        return Refused(
            403,
            "key_refused",
            f"{target.title} refused this call. Check there that the key may use the model, or set another"
            f" one with `{target.command}`.",
        )
    if 300 <= status < 400:
        return Refused(
            502,
            "upstream_redirects",
            f"{target.title} at {target.address.host} points to another address. Set that one with"
            f" `{target.command}`.",
        )
    return None


async def _discarded(response: httpx2.Response) -> None:
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
    finally:
        await response.aclose()


def _unreachable(exc: httpx2.RequestError, target: Target) -> Refused:
    where = f"{target.title} at {target.address.host}"
    match exc:
        case httpx2.ReadTimeout():
            return Refused(
                504,
                "upstream_timeout",
                f"{where} took the call and did not answer for {TIMEOUTS.read:.0f} s. Wait a few minutes.",
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
        f"Salver cannot reach {where}: {cause}. Check the network, or set another address with"
        f" `{target.command}`.",
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
