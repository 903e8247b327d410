"""The sandbox's only way out: model calls and the web, over one unix socket for each live session.

A call goes through when it bears the session's token and is one of the few that providers need. The
owner's key is swapped in on the way out and never travels back. A session that makes no call costs
one listening socket: no task, no timer; the HTTP client is loaded by the first call of all.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from salver_server.clock import Clock
from salver_server.gateway.upstream import Target, Upstream, target
from salver_server.gateway.web import (
    MOST_WAYS,
    ReachOf,
    Web,
    nowhere,
    open_web,
    proxy_token,
    way_of,
)
from salver_server.gateway.web.levels import Way
from salver_server.gateway.wire import LONGEST_BODY, Head, Refused, Wire
from salver_server.ids import SessionId
from salver_server.kit.pace import Pace

if TYPE_CHECKING:
    from salver_server.gateway.relay import Relay

logger = logging.getLogger(__name__)

ALLOWED = {
    "/openai/v1/chat/completions": ("POST", "/chat/completions"),
    "/openai/v1/models": ("GET", "/models"),
}
"""Path in the sandbox to its one method and where it goes below the upstream's base.

Compared letter by letter with what was sent: nothing is decoded, resolved or joined before, so no
spelling of a path stands for another one.
"""
MOST_CALLS = 4
"""Model calls of one session at a time; each may hold a request body in memory."""
MOST_CONNECTIONS = MOST_CALLS + MOST_WAYS
REFUSALS_A_SECOND = 20
"""Each is said in the log; who asks on and on for what it may not have is answered more slowly."""
ASKING = 60.0
"""Seconds within which a request must have arrived."""
HUNG_UP = 499
"""Metered as the status of a call whose client left before the answer began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One finished call, for the meter."""

    session: SessionId
    status: int
    bytes: int
    """Of the answer's body, as the sandbox got it."""
    seconds: float


Meter = Callable[[Call], None]


def log_call(call: Call) -> None:
    logger.info(
        "model call",
        extra={
            "session": call.session,
            "status": call.status,
            "bytes": call.bytes,
            "seconds": round(call.seconds, 3),
        },
    )


def token_hash(token: str) -> bytes:
    """What the gateway keeps of a session's token."""
    return hashlib.sha256(token.encode()).digest()


@asynccontextmanager
async def open_gateway(
    clock: Clock,
    *,
    reach: ReachOf = nowhere,
    owner: tuple[int, int] | None = None,
    meter: Meter = log_call,
) -> AsyncGenerator["Gateway"]:
    """The gateway of this install; `owner` is the uid and gid of sandboxes, where it is not ours.

    `reach` tells what of the web a session may reach at this moment.
    """
    async with open_web(clock, reach) as web, asyncio.TaskGroup() as tasks:
        gateway = Gateway(tasks, clock, owner=owner, meter=meter, web=web)
        try:
            yield gateway
        finally:
            await gateway.close_all()


@dataclass(slots=True, kw_only=True)
class Door:
    """One session's socket, and who may call through it."""

    session: SessionId
    path: Path
    token_hash: bytes
    target: Target
    server: asyncio.Server | None = None
    calls: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    refusals: Pace = field(default_factory=lambda: Pace(REFUSALS_A_SECOND))
    model_calls: int = 0

    @contextmanager
    def model_call(self) -> Generator[Refused | None]:
        """One of those that a session may make at a time, or why it is one too many."""
        self.model_calls += 1
        try:
            yield _too_many() if self.model_calls > MOST_CALLS else None
        finally:
            self.model_calls -= 1


class Gateway:
    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        clock: Clock,
        *,
        owner: tuple[int, int] | None,
        meter: Meter,
        web: Web,
    ) -> None:
        self._tasks = tasks
        self._web = web
        self._clock = clock
        self._owner = owner
        self._meter = meter
        self._doors: dict[SessionId, Door] = {}
        self._relay: Relay | None = None
        self._loading = asyncio.Lock()

    async def open(
        self, session: SessionId, path: Path, *, token_hash: bytes, upstream: Upstream
    ) -> None:
        """Serve this session at `path`, anew if it was served before.

        Raises `NeedsUser` when the upstream's address or key cannot be used.
        """
        door = Door(session=session, path=path, token_hash=token_hash, target=target(upstream))
        await self.close(session)

        def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._enter(door, reader, writer)

        door.server = await asyncio.start_unix_server(
            enter,
            sock=listening(path, owner=self._owner),
            # So many are accepted in one go, before anyone else has their turn.
            backlog=MOST_CONNECTIONS,
        )
        self._doors[session] = door

    async def close(self, session: SessionId) -> None:
        """End the session's calls and take its socket away; nothing if it is not served."""
        door = self._doors.pop(session, None)
        if door is None or door.server is None:
            return
        # The door first: who is cut off and comes back must find it closed, not a dying listener.
        door.server.close()
        door.path.unlink(missing_ok=True)
        for call in door.calls:
            call.cancel()
        if door.calls:
            await asyncio.wait(door.calls)

    async def close_all(self) -> None:
        for session in list(self._doors):
            await self.close(session)
        if self._relay is not None:
            await self._relay.close()
            self._relay = None

    def _enter(
        self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if len(door.calls) >= MOST_CONNECTIONS:
            writer.write(BUSY)
            writer.close()
            return
        call = self._tasks.create_task(self._serve(door, Wire(reader, writer)), name="gateway.call")
        door.calls.add(call)
        call.add_done_callback(door.calls.discard)

    async def _serve(self, door: Door, wire: Wire) -> None:
        """One connection, one call."""
        began = self._clock.elapsed()
        way: Way | None = None
        try:
            try:
                async with asyncio.timeout(ASKING):
                    head = await wire.head()
                way = way_of(head)
                whole = await self._answer(door, wire, head, way)
            except Refused as refusal:
                await door.refusals.keep()
                whole = await wire.refuse(refusal)
            if whole:
                await wire.finish()
        except* (OSError, TimeoutError):
            logger.debug("a sandbox went away", extra={"session": door.session})
        except* Exception:
            # The rim: one broken call must not end the others.
            logger.exception("a model call broke", extra={"session": door.session})
        finally:
            wire.cut()
            if wire.heard and way is None:
                self._meter(
                    Call(
                        session=door.session,
                        status=wire.status or HUNG_UP,
                        bytes=wire.sent,
                        seconds=self._clock.elapsed() - began,
                    )
                )

    async def _answer(self, door: Door, wire: Wire, head: Head, way: Way | None) -> bool:
        """True for a whole answer; raises `Refused` only before any of it."""
        match way:
            case None:
                with door.model_call() as objection:
                    body = await _admitted(wire, head, objection or _objection(head, door))
                    return await _unless_gone(wire, self._pass_on(door, wire, head, body))
            case "tunnel":
                await _admitted(wire, head, _stranger(proxy_token(head) or head.token, door))
                return await self._web.tunnel(wire, head, door.session, door.refusals)
            case "fetch":
                await _admitted(wire, head, _stranger(head.token, door))
                fetching = self._web.fetch(wire, head, door.session, door.refusals)
                return await _unless_gone(wire, fetching)
            case _:
                assert_never(way)

    async def _pass_on(self, door: Door, wire: Wire, head: Head, body: bytes) -> bool:
        async with self._loading:
            if self._relay is None:
                # Loading the client and the system's certificates takes 0.1 s, off the loop.
                self._relay = await asyncio.to_thread(_load_relay)
        tail = ALLOWED[head.path][1]
        return await self._relay.pass_on(
            wire, head, body, door.target, tail=tail, session=door.session
        )


def _load_relay() -> "Relay":
    from salver_server.gateway.relay import Relay

    return Relay()


async def _admitted(wire: Wire, head: Head, objection: Refused | None) -> bytes:
    """The body of a call that may go out; raises `Refused`, always after the whole request has been read.

    An answer to a client that is still sending may never be read by it.
    """
    async with asyncio.timeout(ASKING):
        body = await wire.body(LONGEST_BODY if objection is None and head.method == "POST" else 0)
    if objection is not None:
        raise objection
    if body is None:
        raise Refused(413, "request_too_large", "The request is larger than the gateway takes.")
    return body


def _objection(head: Head, door: Door) -> Refused | None:
    """Why this model call may not go out, if it may not."""
    if stranger := _stranger(head.token, door):
        return stranger
    if head.path not in ALLOWED:
        return Refused(404, "not_allowed", "The gateway lets no call through to this path.")
    if head.method != ALLOWED[head.path][0]:
        return Refused(405, "not_allowed", "The gateway lets no call of this method through.")
    return None


def _too_many() -> Refused:
    return Refused(503, "not_allowed", f"At most {MOST_CALLS} calls go out at a time. Try again.")


def _stranger(token: str, door: Door) -> Refused | None:
    if hmac.compare_digest(token_hash(token), door.token_hash):
        return None
    return Refused(
        401, "session_unknown", "The gateway does not know this session's token. Restart Salver."
    )


async def _unless_gone(wire: Wire, passing_on: Coroutine[Any, Any, bool]) -> bool:
    """Pass the call on until it is answered or the sandbox hangs up; true for a whole answer."""
    async with asyncio.TaskGroup() as tasks:
        calling = tasks.create_task(passing_on, name="gateway.pass-on")
        watching = tasks.create_task(wire.hung_up(), name="gateway.watch")
        watching.add_done_callback(lambda _: calling.cancel())
        await asyncio.wait([calling])
        watching.cancel()
    return not calling.cancelled() and calling.result()


def listening(path: Path, *, owner: tuple[int, int] | None) -> socket.socket:
    """A socket at `path` that the sandbox may connect to; whoever finds it there finds it ready."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    aside = path.with_name(f".{path.name}")
    try:
        aside.unlink(missing_ok=True)
        door.bind(str(aside))
        aside.chmod(0o600)
        if owner is not None:
            os.chown(aside, *owner)
        door.listen(MOST_CONNECTIONS)
        aside.rename(path)
    except BaseException:
        door.close()
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    return door


BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n"
    b"content-length: 0\r\n\r\n"
)
