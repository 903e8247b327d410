"""One courier per chat: the next delivery, its call, its receipt; a slow chat delays only itself."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

from salver_server.channels import Channel, ChannelSpec
from salver_server.clock import LONGEST_SLEEP, Clock, moment, stamp
from salver_server.delivery import store
from salver_server.errors import Conflict, Missing, NeedsUser, Rejected, Transient
from salver_server.ids import ChannelName, ChatId, DeliveryId, SessionId
from salver_server.kit.failpoint import failpoint
from salver_server.kit.rounds import Rounds
from salver_server.store import Database

logger = logging.getLogger(__name__)

BACK_OFF = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds between attempts at one delivery."""
MOST_ATTEMPTS = 12
"""After these, over about four hours, a delivery has failed; a person may send it again."""
FOR_A_PERSON = 60.0
"""Seconds until a delivery that needs a person is tried again by itself."""


class Courier:
    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        specs: Mapping[ChannelName, ChannelSpec],
        channels: Mapping[ChannelName, Channel],
        tasks: asyncio.TaskGroup,
        changed: Callable[[SessionId], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._specs = specs
        self._channels = channels
        self._changed = changed
        self._rounds = Rounds("delivery.chat", self._serve, tasks)

    def ask(self, chat: ChatId) -> None:
        """Deliver what waits for this chat, soon."""
        self._rounds.ask(chat)

    async def begin(self) -> None:
        """Take up what an earlier server left."""
        now = stamp(self._clock.now())
        safe = {name for name, spec in self._specs.items() if spec.idempotent}
        await self._database.write(lambda conn: store.resolve_cut_off(conn, safe, now))
        for chat in await self._database.read(store.chats_open):
            self.ask(chat)

    async def resend(self, id_: DeliveryId) -> None:
        """Send once more; raises `Conflict` for a delivery that has neither failed nor is in doubt."""
        now = stamp(self._clock.now())
        chat, known = await self._database.write(
            lambda conn: (store.resend(conn, id_, now), store.exists(conn, id_))
        )
        if not known:
            raise Missing(f"There is no delivery '{id_}'.")
        if chat is None:
            raise Conflict(
                f"Delivery '{id_}' is neither failed nor in doubt; there is nothing to send again."
            )
        self.ask(chat)

    async def _serve(self, chat: ChatId) -> None:
        while True:
            delivery = await self._database.read(lambda conn: store.first_open(conn, chat))
            if delivery is None:
                return
            wait = (moment(delivery.next_at) - self._clock.now()).total_seconds()
            if wait > 0:
                raise Transient("not yet due", retry_after=min(wait, LONGEST_SLEEP))
            if delivery.state == "sending":  # nobody else is at it: its receipt could not be kept
                await self._in_doubt(delivery)
            else:
                await self._deliver(delivery)
            self._changed(delivery.outbound.session)

    async def _deliver(self, delivery: store.Delivery) -> None:
        id_, channel = delivery.outbound.id, self._channels.get(delivery.channel)
        failpoint("delivery.before-sending")
        await self._database.write(lambda conn: store.begin(conn, id_, stamp(self._clock.now())))
        failpoint("delivery.sending")
        try:
            if channel is None:
                raise NeedsUser(f"The channel '{delivery.channel}' is not open. Connect it.")
            receipt = await channel.send(delivery.outbound)
        except Rejected as exc:
            await self._fail(delivery, str(exc))
        except NeedsUser as exc:
            await self._later(delivery, FOR_A_PERSON, str(exc), counts=False)
        except Transient as exc:
            wait = exc.retry_after or BACK_OFF[min(delivery.attempts, len(BACK_OFF) - 1)]
            await self._later(delivery, wait, str(exc), counts=True)
        except Exception:
            logger.exception("channel failed", extra={"channel": delivery.channel, "delivery": id_})
            await self._in_doubt(delivery)
        else:
            failpoint("delivery.sent")
            now = stamp(self._clock.now())
            await self._database.write(lambda conn: store.done(conn, id_, receipt.id, now))
            failpoint("delivery.receipt")

    async def _later(
        self, delivery: store.Delivery, seconds: float, reason: str, *, counts: bool
    ) -> None:
        if counts and delivery.attempts + 1 >= MOST_ATTEMPTS:
            await self._fail(delivery, reason)
            return
        now = self._clock.now()
        next_at = stamp(now + timedelta(seconds=seconds))
        id_ = delivery.outbound.id
        await self._database.write(
            lambda conn: store.later(
                conn, id_, next_at=next_at, reason=reason, counts=counts, now=stamp(now)
            )
        )

    async def _fail(self, delivery: store.Delivery, reason: str) -> None:
        now, id_ = stamp(self._clock.now()), delivery.outbound.id
        await self._database.write(lambda conn: store.failed(conn, id_, reason, now))

    async def _in_doubt(self, delivery: store.Delivery) -> None:
        """The call ended in a way that says nothing: again where that is harmless, else perhaps delivered."""
        if self._specs[delivery.channel].idempotent:
            wait = BACK_OFF[min(delivery.attempts, len(BACK_OFF) - 1)]
            await self._later(
                delivery, wait, "The channel failed; its log has the details.", counts=True
            )
            return
        now, id_ = stamp(self._clock.now()), delivery.outbound.id
        reason = "The channel failed while this was being sent; whether it arrived is not known."
        await self._database.write(lambda conn: store.perhaps(conn, id_, reason, now))
