"""One courier per chat: the next delivery, its call, its receipt; a slow chat delays only itself."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from salver_server.channels import Channel, ChannelSpec
from salver_server.clock import LONGEST_SLEEP, Clock, stamp
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
BATCH = 10
"""Deliveries of a chat that are read at a time; an agent decides how long each is."""


class Courier:
    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        specs: Mapping[ChannelName, ChannelSpec],
        channels: Mapping[ChannelName, Channel],
        outgoing: Path,
        tasks: asyncio.TaskGroup,
        changed: Callable[[SessionId], None],
    ) -> None:
        """`outgoing` is the folder of the deliveries' files."""
        self._database = database
        self._clock = clock
        self._specs = specs
        self._channels = channels
        self._outgoing = outgoing
        self._changed = changed
        self._rounds = Rounds("delivery.chat", self._serve, tasks, sleep=clock.sleep)

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
        while waiting := self._database.glance(
            lambda conn: store.open_of(conn, chat, most=BATCH, outgoing=self._outgoing)
        ):
            first = waiting[0]
            if (wait := first.wait(self._clock.now())) > 0:
                raise Transient("not yet due", retry_after=min(wait, LONGEST_SLEEP))
            if first.state == "sending":  # nobody else is at it: its receipt could not be kept
                await self._in_doubt(first)
                self._changed(first.outbound.session)
            elif self._is_idempotent(first):
                await self._deliver_together(waiting)
            else:
                await self._deliver(first)
                self._changed(first.outbound.session)

    async def _deliver_together(self, waiting: Sequence[store.Delivery]) -> None:
        """Where sending twice is harmless nothing is noted before, and all receipts share one commit."""
        receipts: dict[DeliveryId, str] = {}
        failed: Exception | None = None
        now = self._clock.now()
        failpoint("delivery.before-sending")
        for delivery in waiting:
            if delivery.state != "waiting" or delivery.wait(now) > 0:
                break
            try:
                receipts[delivery.outbound.id] = await self._send(delivery)
            except Exception as exc:  # noqa: BLE001 the rim: it is sorted and logged below
                failed = exc
                break
        failpoint("delivery.sent")
        if receipts:
            at = stamp(self._clock.now())
            await self._database.write(lambda conn: store.done(conn, receipts, at))
            failpoint("delivery.receipt")
        if failed is not None:
            await self._not_sent(waiting[len(receipts)], failed)
        for session in {one.outbound.session for one in waiting}:
            self._changed(session)

    async def _deliver(self, delivery: store.Delivery) -> None:
        id_ = delivery.outbound.id
        failpoint("delivery.before-sending")
        await self._database.write(lambda conn: store.begin(conn, id_, stamp(self._clock.now())))
        failpoint("delivery.sending")
        try:
            receipt = await self._send(delivery)
        except Exception as exc:  # noqa: BLE001 the rim: it is sorted and logged there
            await self._not_sent(delivery, exc)
        else:
            failpoint("delivery.sent")
            now = stamp(self._clock.now())
            await self._database.write(lambda conn: store.done(conn, {id_: receipt}, now))
            failpoint("delivery.receipt")

    async def _send(self, delivery: store.Delivery) -> str:
        """Its receipt."""
        channel = self._channels.get(delivery.channel)
        if channel is None:
            raise NeedsUser(f"The channel '{delivery.channel}' is not open. Connect it.")
        return (await channel.send(delivery.outbound)).id

    async def _not_sent(self, delivery: store.Delivery, problem: Exception) -> None:
        match problem:
            case Rejected():
                await self._fail(delivery, str(problem))
            case NeedsUser():
                await self._later(delivery, FOR_A_PERSON, str(problem), counts=False)
            case Transient():
                wait = problem.retry_after or _back_off(delivery)
                await self._later(delivery, wait, str(problem), counts=True)
            case _:
                logger.error(
                    "channel failed",
                    extra={"channel": delivery.channel, "delivery": delivery.outbound.id},
                    exc_info=problem,
                )
                await self._in_doubt(delivery)

    async def _later(
        self, delivery: store.Delivery, seconds: float, reason: str, *, counts: bool
    ) -> None:
        attempts = delivery.attempts + counts
        if attempts >= MOST_ATTEMPTS:
            await self._fail(delivery, reason)
            return
        now = self._clock.now()
        next_at = stamp(now + timedelta(seconds=seconds))
        id_ = delivery.outbound.id
        await self._database.write(
            lambda conn: store.later(
                conn, id_, next_at=next_at, reason=reason, attempts=attempts, now=stamp(now)
            )
        )

    async def _fail(self, delivery: store.Delivery, reason: str) -> None:
        now, id_ = stamp(self._clock.now()), delivery.outbound.id
        await self._database.write(lambda conn: store.failed(conn, id_, reason, now))

    async def _in_doubt(self, delivery: store.Delivery) -> None:
        """The call ended in a way that says nothing: again where that is harmless, else perhaps delivered."""
        if self._is_idempotent(delivery):
            await self._later(
                delivery,
                _back_off(delivery),
                "The channel failed; its log has the details.",
                counts=True,
            )
            return
        now, id_ = stamp(self._clock.now()), delivery.outbound.id
        reason = "The channel failed while this was being sent; whether it arrived is not known."
        await self._database.write(lambda conn: store.perhaps(conn, id_, reason, now))

    def _is_idempotent(self, delivery: store.Delivery) -> bool:
        return self._specs[delivery.channel].idempotent


def _back_off(delivery: store.Delivery) -> float:
    return BACK_OFF[min(delivery.attempts, len(BACK_OFF) - 1)]
