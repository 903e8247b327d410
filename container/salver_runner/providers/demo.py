"""The demo provider: a whole turn without a model, offline and without a key; the tests' provider too.

A message without orders gets a streamed answer with one visible shell call. Lines that begin with `!`
are orders, run one after the other; after each, what came in meanwhile is taken up like by a model:

    !say TEXT      stream TEXT              !send TEXT    send TEXT before the turn ends
    !shell CMD     run CMD with the shell   !slow SECONDS wait, streaming a dot now and then
    !remember TEXT keep TEXT                !recall       say everything kept
    !fail REASON   end as a failed turn     !crash        kill this runner
    !hang          never come back          !sendfile PATH send a file
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Iterator

from salver_runner.inbox import Message
from salver_runner.turn import Failed, JsonObject, Turn

PACE = 0.02
"""Seconds between two streamed words of the plain answer."""
LONGEST_WAIT = 86_400


class Demo:
    async def turn(self, turn: Turn) -> None:
        orders: deque[tuple[str, str]] = deque()
        first = True
        while True:
            # Nothing here awaits between the taking and the keeping, so what is seen is always kept.
            for message in turn.take():
                turn.kept.append({"role": "user", "text": message.text})
                orders.extend(_orders(message))
            if first and turn.note:
                turn.say(f"({turn.note})\n")
            first = False
            if not orders or turn.last_round:
                break
            turn.rounds += 1
            await self._obey(*orders.popleft(), turn=turn)
        if orders:
            turn.say(f"\nThe limit of this turn is reached; {len(orders)} orders are left undone.")
        turn.kept.append({"role": "agent", "text": "".join(turn.said)})

    async def compact(self, turn: Turn) -> list[JsonObject]:
        memory = [message for message in turn.history if message["role"] == "memory"]
        asked = len(_texts(turn, "user"))
        return [*memory, {"role": "agent", "text": f"({asked} messages were compacted.)"}]

    async def _obey(self, order: str, rest: str, *, turn: Turn) -> None:
        match order:
            case "say":
                turn.say(rest + "\n")
            case "send":
                turn.send(rest)
            case "sendfile":
                result = await turn.use("send_file", {"path": rest})
                turn.say(f"{result.text}\n")
            case "shell":
                result = await turn.use("shell", {"command": rest})
                turn.say(f"$ {rest}\n{result.text.rstrip()}\n")
            case "slow":
                await self._slow(_seconds(rest or "1"), turn)
            case "remember":
                turn.kept.append({"role": "memory", "text": rest})
                turn.say(f"I will remember: {rest}\n")
            case "recall":
                turn.say("\n".join(_texts(turn, "memory")) or "I remember nothing yet.")
                turn.say("\n")
            case "fail":
                raise Failed(rest or "The demo provider was told to fail.")
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                await asyncio.Event().wait()
            case "plain":
                await self._plain(rest, turn)
            case _:
                turn.say(f"The demo provider knows no order !{order}.\n")

    async def _slow(self, seconds: float, turn: Turn) -> None:
        steps = max(1, round(seconds / 0.1))
        for _ in range(steps):
            await asyncio.sleep(seconds / steps)
            turn.say(".")
        turn.say("\n")

    async def _plain(self, text: str, turn: Turn) -> None:
        asked = _texts(turn, "user")
        listing = await turn.use("shell", {"command": "pwd; ls -A | head -20"})
        await _stream(
            turn, f"This is Salver's demo agent; no model is thinking here. You wrote: “{text}”. "
        )
        await _stream(
            turn, f"I looked around in my sandbox and saw: {', '.join(listing.text.split())}. "
        )
        if len(asked) > 1:
            await _stream(
                turn, f"This is your message number {len(asked)}; the first was “{asked[0]}”. "
            )
        await _stream(
            turn, "Set up a real provider to talk to a model: `salver provider set NAME`."
        )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= LONGEST_WAIT:
        raise Failed(f"!slow wants a number of seconds, at most {LONGEST_WAIT}.")
    return seconds


def _orders(message: Message) -> Iterator[tuple[str, str]]:
    lines = [line.strip() for line in message.text.splitlines()]
    orders = [line for line in lines if line.startswith("!")]
    if not orders and message.wakes:
        yield "plain", " ".join([message.text, *(file.name for file in message.files)]).strip()
    for line in orders:
        order, _, rest = line[1:].partition(" ")
        yield order, rest


def _texts(turn: Turn, role: str) -> list[str]:
    messages: list[JsonObject] = [*turn.history, *turn.kept]
    return [message["text"] for message in messages if message["role"] == role]


async def _stream(turn: Turn, text: str) -> None:
    for word in text.split(" "):
        if word:
            turn.say(word + " ")
            await asyncio.sleep(PACE)


PROVIDER = Demo()
