"""The sandbox's only way out: model calls and the web, over one unix socket for each live session.

A model call goes through when it bears the session's token, is one of the few that providers need, and holds
nothing that is not known. The owner's key is swapped in on the way out and never travels back. A session
that makes no call costs one listening socket: no task, no timer; the HTTP client is loaded by the first
call of all.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from salver_server.calls import Ask, Meter, OverBudget, PriceUnknown
from salver_server.clock import Clock
from salver_server.gateway.admission import (
    ASKING,
    Admitted,
    found,
    stranger,
    token_hash,
    understood,
    whole_body,
)
from salver_server.gateway.counting import Counter
from salver_server.gateway.door import MOST_CONNECTIONS, Door, listening
from salver_server.gateway.exchange import Exchange, Head, Refused
from salver_server.gateway.upstream import Target, Upstream
from salver_server.gateway.web import (
    ReachOf,
    Web,
    nowhere,
    open_web,
    proxy_token,
    way_of,
)
from salver_server.gateway.web.levels import Way
from salver_server.ids import AgentName, SessionId
from salver_server.kit.pace import Pace

if TYPE_CHECKING:
    from salver_server.gateway.relay import Relay

__all__ = ["Gateway", "Pace", "Upstream", "open_gateway", "token_hash"]

logger = logging.getLogger(__name__)

LARGE = 500_000
"""Bytes of a request that is understood beside the event loop: it may take a quarter of a second."""
HUNG_UP = 499
"""Metered as the status of a call whose client left before the answer began."""
GIVEN_UP = 408
"""The same, if it left before the call went out at all: nobody wants money for that."""


@asynccontextmanager
async def open_gateway(
    clock: Clock,
    *,
    reach: ReachOf = nowhere,
    owner: tuple[int, int] | None = None,
    meter: Meter,
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
        self,
        session: SessionId,
        path: Path,
        *,
        agent: AgentName,
        token_hash: bytes,
        upstreams: Sequence[Upstream],
    ) -> None:
        """Serve this session at `path`, anew if it was served before.

        Asks for no key. Raises `NeedsUser` when an upstream's address cannot be used.
        """
        door = Door(
            session=session,
            agent=agent,
            path=path,
            token_hash=token_hash,
            targets={f"/{upstream.name}": Target(upstream) for upstream in upstreams},
        )
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
        for call, exchange in door.calls.items():
            if exchange in door.metered:
                exchange.cut()  # it ends by itself then, and the meter is told
            else:
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
        exchange = Exchange(reader, writer)
        call = self._tasks.create_task(self._serve(door, exchange), name="gateway.call")
        door.calls[call] = exchange
        call.add_done_callback(door.calls.pop)

    async def _serve(self, door: Door, exchange: Exchange) -> None:
        """One connection, one call."""
        try:
            try:
                async with asyncio.timeout(ASKING):
                    head = await exchange.head()
                whole = await self._answer(door, exchange, head, way_of(head))
            except Refused as refusal:
                about = {"session": door.session, "code": refusal.code}
                logger.info("a call was refused", extra=about)
                await door.refusals.keep()
                whole = await exchange.refuse(refusal)
            if whole:
                await exchange.finish()
        except* (OSError, TimeoutError):
            logger.debug("a sandbox went away", extra={"session": door.session})
        except* Exception:
            # The rim: one broken call must not end the others.
            logger.exception("a call broke", extra={"session": door.session})
        finally:
            exchange.cut()

    async def _answer(self, door: Door, exchange: Exchange, head: Head, way: Way | None) -> bool:
        """True for a whole answer; raises `Refused` only before any of it."""
        match way:
            case None:
                with door.model_call() as objection:
                    call = await self._admitted(door, exchange, head, objection)
                    return await self._metered(door, exchange, call)
            case "tunnel":
                objection = stranger(proxy_token(head) or head.token, door.token_hash)
                await whole_body(exchange, head, objection)
                return await self._web.tunnel(exchange, head, door.session, door.refusals)
            case "fetch":
                await whole_body(exchange, head, stranger(head.token, door.token_hash))
                fetching = self._web.fetch(exchange, head, door.session, door.refusals)
                return await _unless_gone(exchange, fetching)
            case _:
                assert_never(way)

    async def _admitted(
        self, door: Door, exchange: Exchange, head: Head, objection: Refused | None
    ) -> Admitted:
        """A model call that may go out; raises `Refused` after the whole request has been read."""
        goes = objection or stranger(head.token, door.token_hash) or found(head, door.targets)
        body = await whole_body(exchange, head, goes if isinstance(goes, Refused) else None)
        assert not isinstance(goes, Refused)
        async with door.understanding:
            began = self._clock.elapsed()
            try:
                if len(body) < LARGE:
                    return understood(head, *goes, body)
                return await asyncio.to_thread(understood, head, *goes, body)
            finally:
                # It was everybody's time.
                await door.reading.keep(round((self._clock.elapsed() - began) * 1_000_000))

    async def _metered(self, door: Door, exchange: Exchange, call: Admitted) -> bool:
        """On record from before it goes out until it is over, however it ends; true for a whole answer."""
        counter = Counter(call.target.spec)
        if call.asked is None:
            return await _unless_gone(exchange, self._pass_on(door, exchange, call, counter))
        door.metered.add(exchange)
        try:
            begun = await self._meter.begin(_ask(door, call))
            try:
                return await _unless_gone(exchange, self._pass_on(door, exchange, call, counter))
            finally:
                status = exchange.status or (HUNG_UP if counter.asked else GIVEN_UP)
                await self._meter.end(begun, status=status, tokens=counter.tokens)
        except OverBudget as exc:
            raise Refused(402, "over_budget", str(exc)) from exc
        except PriceUnknown as exc:
            raise Refused(402, "price_unknown", str(exc)) from exc
        finally:
            door.metered.discard(exchange)

    async def _pass_on(
        self, door: Door, exchange: Exchange, call: Admitted, counter: Counter
    ) -> bool:
        async with self._loading:
            if self._relay is None:
                # Loading the client and the system's certificates takes 0.1 s, off the loop.
                self._relay = await asyncio.to_thread(_load_relay)
        return await self._relay.pass_on(exchange, call, counter, session=door.session)


def _load_relay() -> "Relay":
    from salver_server.gateway.relay import Relay

    return Relay()


def _ask(door: Door, call: Admitted) -> Ask:
    assert call.asked is not None
    return Ask(
        session=door.session,
        agent=door.agent,
        turn=call.head.turn,
        provider=call.target.name,
        model=call.asked.model,
        size=len(call.body),
        most_output=call.asked.most_output,
    )


async def _unless_gone(exchange: Exchange, passing_on: Coroutine[Any, Any, bool]) -> bool:
    """Pass the call on until it is answered or the sandbox hangs up; true for a whole answer."""
    async with asyncio.TaskGroup() as tasks:
        calling = tasks.create_task(passing_on, name="gateway.pass-on")
        watching = tasks.create_task(exchange.hung_up(), name="gateway.watch")
        watching.add_done_callback(lambda _: calling.cancel())
        await asyncio.wait([calling])
        watching.cancel()
    return not calling.cancelled() and calling.result()


BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n"
    b"content-length: 0\r\n\r\n"
)
