"""One turn as a provider sees it: take messages, speak, use tools, keep what was said."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salver_runner.clock import elapsed
from salver_runner.context import Context
from salver_runner.inbox import Message
from salver_runner.launch import Launch
from salver_runner.line import Line
from salver_runner.outbox import Outbox
from salver_runner.tools import Handed, Result, ToolSpec
from salver_runner.web import Web
from salver_runner.workspace.outgoing import Sent
from salver_runner.workspace.seen import Seen

JsonObject = dict[str, Any]
"""One provider message, in the provider's own shape; opaque to everyone else."""


LONGEST_SHOWN = 200
"""Characters of one argument among several, as people see it: it may be a whole file."""


OUT_OF_TIME = "Ended before it was done: the time limit of this turn is reached."


class Failed(Exception):
    """The turn cannot go on; the text is for the person: what happened, what to do now."""


@dataclass(slots=True, kw_only=True)
class Turn:
    launch: Launch
    number: int
    attempt: int
    outbox: Outbox
    line: Line
    gateway: Path
    """The socket through which models are reached; away while the server restarts."""
    files: Path
    """Where what came with messages lies, in a folder of each message's id."""
    web: Web
    tools: Mapping[str, ToolSpec]
    pending: Callable[[], list[Message]]
    """What may be taken now, in order."""
    seen_files: Seen = field(default_factory=Seen)
    """What this runner has read, also in earlier turns."""
    history: list[JsonObject] = field(default_factory=list[JsonObject])
    """Provider messages of all earlier turns, oldest first."""
    note: str = ""
    """What an attempt that was cut off had already done; for the model, empty on a first attempt."""
    claimed: list[Message] = field(default_factory=list[Message])
    """Claimed in outbound.db, in order."""
    seen: list[Message] = field(default_factory=list[Message])
    """Those of them that the provider took into a request: the first ones."""
    said: list[str] = field(default_factory=list[str])
    """The text of the reply so far."""
    kept: list[JsonObject] = field(default_factory=list[JsonObject])
    """Provider messages of this turn so far; always a state that the next turn can go on from."""
    anew: bool = False
    """`kept` stands in place of all history instead of behind it."""
    context: Context | None = None
    """What its last request was made of, as far as the provider says so."""
    rounds: int = 0
    began: float = field(default_factory=elapsed)

    def claim(self) -> list[Message]:
        """Claim every message that waits: they are about to be part of a request.

        A message that crashed a turn before is claimed alone, so that it fails alone.
        """
        waiting = self.pending()
        if not waiting or (self.claimed and self._risky(self.claimed + waiting)):
            return []
        if self._risky(waiting):
            first = next((index for index, message in enumerate(waiting) if message.wakes), 0)
            waiting = waiting[: first + 1]
        self.outbox.claim(self.number, self.attempt, [message.seq for message in waiting])
        self.claimed += waiting
        self.line.ring_soon()
        return waiting

    def take(self) -> list[Message]:
        """The messages for the next request; whoever calls this puts them all into it."""
        self.claim()
        taken = self.claimed[len(self.seen) :]
        self.seen += taken
        return taken

    def _risky(self, messages: list[Message]) -> bool:
        return any(self.launch.attempts.get(message.seq, 0) for message in messages)

    @property
    def last_round(self) -> bool:
        """True once a limit is near: this request must end the turn, with a summary instead of tools."""
        limits = self.launch.limits
        return self.rounds >= limits.rounds or elapsed() - self.began >= limits.seconds

    def say(self, delta: str) -> None:
        """Stream a piece of the reply."""
        self.said.append(delta)
        self.line.text(self.number, delta)

    def gap(self) -> str:
        """What sets the next piece of writing apart from the reply so far: a blank line, if any."""
        tail = "".join(self.said)[-2:]
        return "\n\n"[len(tail) - len(tail.rstrip("\n")) :] if tail else ""

    def aside(self, text: str) -> None:
        """Say something of Salver's own in the reply, a paragraph that no model has said."""
        self.say(f"{self.gap()}*{text}*")

    def unsay(self, pieces: int) -> None:
        """Take back what was said after so many pieces of `said`: the request is repeated."""
        del self.said[pieces:]
        self.line.again(self.number, "".join(self.said))

    def send(self, text: str, files: Sequence[Sent] = ()) -> None:
        """Send a message before the end of the turn."""
        self.outbox.send(self.number, self.attempt, text, files)
        self.line.ring()

    async def use(self, name: str, arguments: Mapping[str, object]) -> Result:
        """Run a tool, visibly; what went wrong is in the result, for the model."""
        tool = self.tools.get(name)
        if tool is None:
            return Result(
                text=f"There is no tool {name!r}; there are: {', '.join(sorted(self.tools))}.",
                failed=True,
            )
        self.outbox.tool(self.number, self.attempt, name, arguments)
        self.line.tool(self.number, "tool", f"{name} {summary(arguments)}", seconds=tool.longest)
        handed = Handed(
            output=lambda text: self.line.tool(self.number, "output", text),
            send=self.send,
            outgoing=self.outbox.files,
            seen=self.seen_files,
            web=self.web,
        )
        result = await self._in_time(tool, arguments, handed)
        self.line.tool(self.number, "tool-end", "failed" if result.failed else "done")
        # A tool that never waits must not keep orders and other live work from being heard.
        await asyncio.sleep(0)
        return result

    async def _in_time(
        self, tool: ToolSpec, arguments: Mapping[str, object], handed: Handed
    ) -> Result:
        """What the call came to, ended at the turn's limit: there must be time for a summary."""
        left = self.began + self.launch.limits.seconds - elapsed()
        limit = asyncio.timeout(max(0.0, left))
        try:
            async with limit:
                return await tool.run(arguments, handed)
        except TimeoutError:
            if not limit.expired():
                raise
        return Result(text=OUT_OF_TIME, failed=True)


def summary(arguments: Mapping[str, object]) -> str:
    """Arguments in one line for people."""
    if len(arguments) == 1:
        return str(next(iter(arguments.values())))
    return ", ".join(f"{name}={_brief(repr(value))}" for name, value in arguments.items())


def _brief(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
