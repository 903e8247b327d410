"""Messages that the server obeys instead of the agent: which they are, what they do, what is answered.

A command is a message of one line, `/word` and perhaps an argument. With one slash more it is an
ordinary message again, and the agent reads it with one slash less.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Literal, Protocol, assert_never, cast

from salver_server.agents import Definition, parse
from salver_server.agents import store as agents
from salver_server.clock import Stamp
from salver_server.errors import Rejected
from salver_server.ids import AgentName
from salver_server.intake import store
from salver_server.sessions import queue, views
from salver_server.sessions import store as bus

Word = Literal["help", "stop", "model", "clear", "compact"]

ABOUT: Mapping[Word, str] = {
    "help": "/help - this list",
    "stop": "/stop - end the running turn and what waits for it",
    "model": "/model [NAME] - show the model or choose another one, like openai/gpt-5-mini; `/model default` takes AGENT.md's",
    "clear": "/clear - forget the conversation; the next message starts afresh",
    "compact": "/compact - shorten what is remembered of the conversation",
}
COMMAND = re.compile(rf"(/+)({'|'.join(ABOUT)})(?:[ \t]+(\S.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    word: Word
    argument: str


class Models(Protocol):
    """What the provider accounts know of models. Asked in a transaction: nothing here may take long."""

    def said(self, agent: AgentName, definition: Definition) -> str:
        """What turns are run with, for people."""
        ...

    def check(self, agent: AgentName, definition: Definition, name: str) -> str:
        """The choice as it is kept for a session; raises `Rejected` where it cannot be."""
        ...


def command(text: str) -> Command | None:
    """The command that this text is; None for an ordinary message."""
    found = COMMAND.fullmatch(text.strip())
    if found is None or found[1] != "/":
        return None
    return Command(word=cast(Word, found[2]), argument=(found[3] or "").strip())


def spoken(text: str) -> str:
    """What an ordinary message says to the agent: a command that was written with one slash more loses it."""
    found = COMMAND.fullmatch(text.strip())
    return text.strip()[1:] if found and found[1] != "/" else text


def unspoken(text: str) -> str:
    """What has to be written so that the agent reads this text."""
    return f"/{text.strip()}" if COMMAND.fullmatch(text.strip()) else text


def obey(
    conn: Connection, session: bus.Session, asked: Command, *, models: Models, now: Stamp
) -> str:
    """Do what was asked for in this session; returns the answer."""
    if asked.argument and asked.word != "model":
        return (
            f"/{asked.word} stands alone, so nothing was done."
            f" With two slashes the agent reads it: //{asked.word} {asked.argument}"
        )
    match asked.word:
        case "help":
            return _help(conn, session, models, now)
        case "stop":
            return _stop(conn, session, now)
        case "model":
            return _model(conn, session, asked.argument, models)
        case "clear":
            return _clear(conn, session, now)
        case "compact":
            return _compact(conn, session, now)
        case _:
            assert_never(asked.word)


def _help(conn: Connection, session: bus.Session, models: Models, now: Stamp) -> str:
    work = views.work(conn, session.id, now)
    return "\n".join(
        [
            "Commands, obeyed at once, also while a turn runs:",
            *ABOUT.values(),
            "With two slashes the agent reads it as a message: //clear",
            "",
            f"Model: {_in_use(conn, session, models)}.",
            f"Messages: {work.running} running, {work.waiting} waiting, {work.held} in the queue.",
        ]
    )


def _stop(conn: Connection, session: bus.Session, now: Stamp) -> str:
    work = views.work(conn, session.id, now)
    if not queue.busy(conn, session.id, now):
        return "Nothing runs that could be stopped."
    store.order_stop(conn, session.id, now)
    words = [
        f"{work.running} running" if work.running else "",
        f"{work.waiting} waiting" if work.waiting else "",
    ]
    ended = " and ".join(word for word in words if word)
    follows = " The queue goes on with its first message." if work.free else ""
    return f"Stopping{f': messages {ended}' if ended else ''}.{follows}"


def _model(conn: Connection, session: bus.Session, name: str, models: Models) -> str:
    definition = _definition(conn, session)
    if not name:
        return f"Model: {_in_use(conn, session, models)}. `/model NAME` chooses another."
    try:
        chosen = "" if name == "default" else models.check(session.agent, definition, name)
    except Rejected as exc:
        return str(exc)
    bus.choose_model(conn, session.id, chosen)
    if not chosen:
        said = models.said(session.agent, definition)
        return f"Model: {said}, as AGENT.md says, from the next turn on."
    return f"Model: {chosen}, from the next turn on."


def _clear(conn: Connection, session: bus.Session, now: Stamp) -> str:
    still = queue.busy(conn, session.id, now)
    store.order(conn, session.id, kind="clear", now=now)
    before = "what was said before is still answered, " if still else ""
    return f"Cleared: {before}the next message starts afresh."


def _compact(conn: Connection, session: bus.Session, now: Stamp) -> str:
    still = queue.busy(conn, session.id, now)
    lives = store.has_runner(conn, session.id)
    store.order(conn, session.id, kind="compact", now=now)
    if still:
        return "I will compact the conversation after this turn."
    return f"I {'am compacting the conversation' if lives else 'will compact the conversation before the next turn'}."


def _definition(conn: Connection, session: bus.Session) -> Definition:
    return parse(agents.text(conn, session.agent))


def _in_use(conn: Connection, session: bus.Session, models: Models) -> str:
    said = models.said(session.agent, _definition(conn, session))
    return (
        f"{session.model}, chosen for this conversation; AGENT.md says {said}"
        if session.model
        else said
    )
