"""One turn at a time: look, take, run, end in one transaction, look again."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from salver_runner import providers, tools
from salver_runner.bell import Bell
from salver_runner.failpoint import failpoint
from salver_runner.inbox import Inbox, Message
from salver_runner.launch import Launch
from salver_runner.line import Line
from salver_runner.orders import answers, until_memory
from salver_runner.outbox import Ack, Ousted, Outbox, Outcome
from salver_runner.transcript import Transcript
from salver_runner.turn import Failed, JsonObject, Turn
from salver_runner.web import open_web
from salver_runner.workspace.seen import Seen

logger = logging.getLogger(__name__)

LONELY = 1800.0
"""Seconds without work and without a line after which a runner that nobody adopts leaves."""
GRACE = 1.25
"""A turn that does not end at its time limit by itself is ended at this multiple of it."""
MOST_TOLD = 2000
"""Characters of a call's arguments that a retried turn is told."""
UNREADABLE = 0.05
"""Seconds until the next look at an inbound.db that could not be read."""


Work = Callable[[providers.Provider], Awaitable[None]]
"""What is asked of a provider."""


class Loop:
    def __init__(
        self,
        launch: Launch,
        *,
        inbound: Path,
        outbox: Outbox,
        line_socket: Path,
        gateway: Path,
        home: Path,
    ) -> None:
        self._launch = launch
        self._gateway = gateway
        self._inbox = Inbox(path=inbound)
        self._outbox = outbox
        self._bell = Bell(inbound)
        self._line = Line(
            line_socket, generation=launch.generation, rung=self._bell.ring, given_up=self._give_up
        )
        self._transcript = Transcript(home / "transcript.md", self._inbox, outbox)
        self._history: list[JsonObject] | None = None
        self._seen_files = Seen()
        self._turn: Turn | None = None
        self._given_up = asyncio.Event()

    def _give_up(self) -> None:
        self._given_up.set()

    async def run(self) -> None:
        """Serve until retired, or until nobody has cared for long."""
        async with (
            asyncio.TaskGroup() as tasks,
            open_web(self._gateway, self._launch.token) as self._web,
        ):
            keeping = tasks.create_task(self._line.keep(), name="line.keep")
            await self._line.tried()
            with contextlib.suppress(TimeoutError):
                while not await self._step():
                    async with asyncio.timeout(None if self._line.connected else LONELY):
                        await self._bell.wait(connected=self._line.connected)
            keeping.cancel()

    async def _step(self) -> bool:
        """Do everything that waits; true when this runner was told to leave, after one more turn at most."""
        leaves = False
        while True:
            rows = await self._rows()
            if self._obey([row for row in rows if row.kind in ("cancel", "stop")], rows):
                continue
            before, order = until_memory(rows)
            if order is not None and not any(row.wakes for row in before):
                if order.kind == "clear":
                    self._clear(order, before)
                elif self._line.retiring:
                    return True  # it may take long, and the next runner begins with it
                else:
                    await self._compact(order)
                continue
            if leaves or not any(row.wakes for row in before):
                return self._line.retiring
            leaves = self._line.retiring
            await self._take_turn()

    async def _rows(self) -> list[Message]:
        while True:
            rows = self._look()
            if rows is not None:
                return rows
            await asyncio.sleep(UNREADABLE)

    def _look(self) -> list[Message] | None:
        """Everything handed over and not done, orders included; None when the file cannot be read now."""
        snapshot = self._inbox.read(after=self._outbox.watermark)
        if snapshot is None:
            return None
        # Before the watermark rises: what it rises over is no longer told apart one by one.
        pending = snapshot.pending(self._outbox.done)
        self._outbox.settle(snapshot.settled)
        return pending

    def _obey(self, orders: list[Message], rows: list[Message]) -> bool:
        """Answer orders that concern messages which no turn has seen; true if there were any."""
        if not orders:
            return False
        acks = answers(orders, rows, claimed=self._claimed())
        self._outbox.answer_controls(acks)
        self._line.ring()
        return True

    def _claimed(self) -> set[int]:
        return {message.seq for message in self._turn.claimed} if self._turn else set()

    def _clear(self, order: Message, before: list[Message]) -> None:
        """Begin the conversation anew, also without what was noted for it."""
        done = [Ack(seq=row.seq, outcome="done") for row in (*before, order)]
        self._outbox.reset(0, 0, acks=done, anew=(self._launch.provider, []))
        self._history = []
        self._seen_files = Seen()
        self._line.ring()
        self._transcript.extend()

    async def _compact(self, order: Message) -> None:
        """Put something shorter in the place of the conversation so far; or say why not, and change nothing."""
        turn = self._new_turn(lambda: [])
        turn.attempt += self._launch.attempts.get(order.seq, 0)
        self._turn = turn
        self._outbox.claim(turn.number, turn.attempt, [order.seq])
        turn.claimed = [order]
        self._line.ring_soon()
        shorter: list[JsonObject] = []

        async def compact(provider: providers.Provider) -> None:
            if not isinstance(provider, providers.Compacts):
                raise Failed(
                    f"The provider '{turn.launch.provider}' cannot compact a conversation. `/clear` starts afresh."
                )
            shorter.extend(await provider.compact(turn))

        outcome, reason = await self._run(turn, compact)
        self._line.flush()
        before, after = _size(turn.history), _size(shorter)
        if outcome != "answered":
            said, anew = f"The conversation was not compacted. {reason}", None
        elif after >= before:
            said, anew = "The conversation is short already; nothing was changed.", None
        else:
            said = f"The conversation is compacted: of {before:,} characters, {after:,} are left."
            anew = shorter
        self._outbox.reset(
            turn.number,
            turn.attempt,
            acks=[
                Ack(
                    seq=order.seq,
                    outcome="done" if outcome == "answered" else outcome,
                    reason=reason,
                )
            ],
            send=said,
            anew=None if anew is None else (turn.launch.provider, anew),
        )
        if anew is not None:
            self._history = anew
        self._turn = None
        self._line.ring()
        self._transcript.extend()

    def _new_turn(self, pending: Callable[[], list[Message]]) -> Turn:
        return Turn(
            launch=self._launch,
            number=self._outbox.next_turn(),
            attempt=1,
            outbox=self._outbox,
            line=self._line,
            gateway=self._gateway,
            files=self._inbox.path.parent / "files",
            web=self._web,
            tools=tools.discover(),
            pending=pending,
            seen_files=self._seen_files,
        )

    async def _take_turn(self) -> None:
        outbox, launch = self._outbox, self._launch
        turn = self._turn = self._new_turn(self._waiting)
        waiting = self._waiting()
        turn.attempt += max((launch.attempts.get(row.seq, 0) for row in waiting), default=0)
        if turn.attempt > 1:
            turn.note = _note(outbox, [row.seq for row in waiting])
        # Claimed before the provider is imported, which may take a second: the state is seen at once.
        if turn.claim():
            outcome, reason = await self._run(turn, lambda provider: provider.turn(turn))
            self._close(turn, outcome, reason)
        self._turn = None

    def _waiting(self) -> list[Message]:
        """Messages that the running turn may still claim; what an order ends is not among them."""
        rows = self._look() or []
        if any(row.kind == "stop" for row in rows):
            # It ends all that the turn has claimed, which what came after it must survive.
            return []
        if self._line.retiring and self._claimed():
            return []  # who is always spoken to would never leave
        gone = {row.target for row in rows if row.kind == "cancel"} | self._claimed()
        before, _ = until_memory(rows)
        return [row for row in before if row.kind in ("message", "note") and row.seq not in gone]

    async def _run(self, turn: Turn, work: Work) -> tuple[Outcome, str]:
        """Let the provider work until it ends, fails, or a person stops it."""
        seconds = turn.launch.limits.seconds
        self._given_up.clear()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self._provide(turn, work), name="turn.provide")
            stopped = tasks.create_task(self._listen(), name="turn.listen")
            given_up = tasks.create_task(self._given_up.wait(), name="turn.given-up")
            await asyncio.wait(
                {running, stopped, given_up},
                timeout=seconds * GRACE,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in (running, stopped, given_up):
                task.cancel()
        # A provider may end well although it was cancelled in the same moment; then it has ended well.
        if not running.cancelled():
            return running.result()
        if not stopped.cancelled():
            return "stopped", "Stopped."
        if not given_up.cancelled():
            return "failed", "The turn showed no progress and was ended. Send the message again."
        return "failed", f"The turn took longer than its limit of {seconds:g} s and was ended."

    async def _provide(self, turn: Turn, work: Work) -> tuple[Outcome, str]:
        try:
            provider = await providers.loaded(turn.launch.provider)
            while self._history is None:
                self._history = self._load_history()
                if self._history is None:
                    await asyncio.sleep(UNREADABLE)
            turn.history = self._history
            await work(provider)
        except Ousted:
            raise
        except Failed as exc:
            return "failed", str(exc)
        except Exception:
            logger.exception("turn failed")
            return (
                "failed",
                "The agent's runner met an error of its own; the log of this session has the details.",
            )
        return "answered", ""

    def _load_history(self) -> list[JsonObject] | None:
        name = self._launch.provider
        rows = [] if self._outbox.began_anew() else self._inbox.history()
        if rows is None:
            return None
        earlier = [json.loads(body) for provider, body in rows if provider == name]
        return [message for body in earlier for message in body] + self._outbox.history(name)

    async def _listen(self) -> None:
        """While the turn runs, answer orders; return at one that stops it."""
        while True:
            await self._bell.wait(connected=self._line.connected)
            rows = self._look()
            if rows is None:
                self._bell.ring()
                await asyncio.sleep(UNREADABLE)
                continue
            self._obey([row for row in rows if row.kind == "cancel"], rows)
            if any(row.kind == "stop" for row in rows):
                return

    def _close(self, turn: Turn, outcome: Outcome, reason: str) -> None:
        self._line.flush()
        # A turn that ended badly ends all that it claimed; one that ended well, what it saw.
        ended = turn.seen if outcome == "answered" else turn.claimed
        text = "".join(turn.said).strip()
        reply: JsonObject | None = None
        if text or outcome == "answered":
            reply = {"text": text, "answers": [m.seq for m in ended if m.wakes], "outcome": outcome}
        kept = list(turn.kept)
        self._outbox.close(
            turn.number,
            turn.attempt,
            acks=[Ack(seq=m.seq, outcome=outcome, reason=reason) for m in ended],
            released=[m.seq for m in turn.claimed if m not in ended],
            reply=reply,
            continuation=(turn.launch.provider, kept) if kept else None,
            anew=turn.anew,
            context=turn.context.record() if turn.context else None,
        )
        if self._history is not None:
            if turn.anew:
                self._history.clear()
            self._history += kept
        self._line.ring()
        failpoint("runner.rung")
        self._transcript.extend()
        self._bell.ring()


def _size(messages: list[JsonObject]) -> int:
    """Characters that provider messages take, near enough."""
    return sum(len(json.dumps(message, ensure_ascii=False)) for message in messages)


def _note(outbox: Outbox, seqs: list[int]) -> str:
    """What an attempt that was cut off had done, in words; empty if nothing."""
    done = [
        _sent(json.loads(trace.body))
        if trace.kind == "send"
        else f"called {json.loads(trace.body)['name']} with {_arguments(trace.body)}"
        for trace in outbox.traces(seqs)
    ]
    if not done:
        return ""
    return f"An earlier attempt at this turn was cut off after it had {'; '.join(done)}. Do not repeat that blindly."


def _sent(body: JsonObject) -> str:
    names = ", ".join(repr(file["name"]) for file in body.get("files", ()))
    said = f"the message {body['text']!r}" if body["text"] or not names else ""
    return "sent " + " with ".join(part for part in (names and f"the file {names}", said) if part)


def _arguments(call: str) -> str:
    # One of them may be a whole file.
    return tools.shorten(json.dumps(json.loads(call)["arguments"]), MOST_TOLD)
