"""`salver chat`: say something, watch the answer come, end with the final reply."""

import json
import secrets
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import click

from salver_server.cli import files, show
from salver_server.cli.connection import (
    EXIT_FAILED,
    EXIT_NOT_RUNNING,
    EXIT_USAGE,
    Cut,
    NotRunning,
    fail,
    json_option,
    reached,
)

RECONNECT = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts to find a server that went away in the middle."""


@click.command()
@click.argument("text", required=False)
@click.option("--agent", metavar="NAME", help="The agent to talk to; the first one unless given.")
@click.option(
    "--session", metavar="ID", help="The session to go on with; the agent's main one unless given."
)
@click.option("--new", "fresh", is_flag=True, help="Begin a new session.")
@click.option(
    "--queue", "queued", is_flag=True, help="For when the agent is free: a turn of its own."
)
@click.option("--reply-to", "quote", metavar="ID", help="Quote an earlier message or reply.")
@click.option(
    "--file",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Send this file along; may be given several times.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Copy the files that the agent sends to this folder.",
)
@json_option
def chat(
    text: str | None,
    agent: str | None,
    session: str | None,
    fresh: bool,
    queued: bool,
    quote: str | None,
    paths: tuple[Path, ...],
    save: Path | None,
    as_json: bool,
) -> None:
    """Send TEXT to an agent and print its reply; - reads it from stdin. With a file, TEXT may be left out.

    /help as TEXT tells what Salver itself obeys, also while the agent works.

    On a terminal the reply streams and tool calls are shown. Else only the final reply is printed. With
    --json each event is a line, and the last one holds the final reply.
    """
    _check(text, paths)
    body: dict[str, Any] = {
        "text": _typed() if text == "-" else text or "",
        "agent": agent,
        "session": session,
        "new": fresh,
        "key": secrets.token_hex(16),
        "when": "free" if queued else "now",
        "quote": quote,
    }
    screen: Screen = JsonScreen(save) if as_json else Screen(save)
    uploads: list[str] = []
    accepted: dict[str, Any] | None = None
    for wait in (0.0, *RECONNECT):
        try:
            time.sleep(wait)
            with reached() as house:
                for path in paths[len(uploads) :]:
                    uploads.append(house.upload(path))  # noqa: PERF401 one that is cut off keeps those before
                body["files"] = uploads
                accepted = accepted or house.ask("POST", "/messages", body)
                assert accepted is not None
                with house.lines(f"/messages/{accepted['id']}/events") as events:
                    screen.show(events)
        except Cut:
            pass
        except NotRunning as exc:
            # One that is just starting again does not answer yet.
            if accepted is None:
                fail(str(exc), EXIT_NOT_RUNNING)
        except KeyboardInterrupt:
            _left(accepted)
        if screen.end is not None:
            break
        screen.cut()
    else:
        _given_up(accepted)
    assert screen.end is not None
    if screen.end["state"] not in ("delivered", "perhaps delivered", "answered"):
        sys.exit(EXIT_FAILED)


def _check(text: str | None, paths: tuple[Path, ...]) -> None:
    if text is None and not paths:
        fail("There is nothing to send. Give a TEXT, or a file with --file.", EXIT_USAGE)
    for path in paths:
        if not path.is_file():  # a pipe would never end
            fail(f"There is no file {path}. Name one that exists.", EXIT_USAGE)


def _typed() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        fail("What stdin holds is no text in UTF-8. Send plain text.", EXIT_USAGE)


def _given_up(accepted: dict[str, Any] | None) -> NoReturn:
    known = "The message is kept and is answered at its next start."
    unknown = "Whether the message was accepted is not known; its next start tells."
    fail(f"Salver went away. {known if accepted else unknown}", EXIT_NOT_RUNNING)


def _left(accepted: dict[str, Any] | None) -> NoReturn:
    if accepted is None:
        fail(
            "Interrupted; whether the message was accepted is not known. `salver sessions list` shows it.",
            EXIT_USAGE,
        )
    fail(
        f"Left; the message is still answered. `salver sessions show {accepted['session']}` shows it.",
        130,
    )


class Screen:
    """Events for a person: live on a terminal, the final reply on stdout either way."""

    def __init__(self, save: Path | None = None) -> None:
        self.end: dict[str, Any] | None = None
        self._save = save
        self._live = sys.stdout.isatty()
        self._streams = self._live
        self._streamed = ""
        self._trouble = ""
        self._told: set[str] = set()

    def cut(self) -> None:
        """What was said meanwhile is not known: only the whole reply will do."""
        if self._streams:
            self._aside("· the connection was cut; the reply comes as a whole once it is there")
        self._streams = False
        self._streamed = ""

    def show(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            match event["event"]:
                case "state":
                    self._say_trouble(event["trouble"])
                    if event["state"] == "held":
                        self._aside("· it is in the queue; `salver messages list` shows it")
                case "text" if self._streams:
                    self._stream(event["text"])
                case "again" if self._streams:
                    self._aside("· the answer was cut off and begins again")
                    self._streamed = ""
                    self._stream(event["text"])
                case "tool":
                    self._aside(f"· {event['text']}")
                case "delivery" if event["delivery"]["kind"] == "send":
                    self._tell(event["delivery"])
                case "end":
                    self.end = event
                    self._finish(event)
                case _:
                    pass

    def _tell(self, delivery: dict[str, Any]) -> None:
        """What was told before the connection was cut is not told again."""
        if delivery["id"] not in self._told:
            self._told.add(delivery["id"])
            self._finish_line()
            if delivery["text"]:
                click.echo(self._shown(delivery["text"]))
            for line in files.lines(delivery, save=self._save):
                click.echo(line)

    def _finish(self, end: dict[str, Any]) -> None:
        self._finish_line()
        reply = self._shown(end["reply"])
        if reply and self._streamed.strip() != reply.strip():
            click.echo(reply)
        if end["reason"]:
            click.echo(f"salver: {end['state']}: {show.plain(end['reason'])}", err=True)

    def _stream(self, text: str) -> None:
        text = self._shown(text)
        click.echo(text, nl=False)
        self._streamed += text

    def _shown(self, text: str) -> str:
        return show.plain(text) if self._live else text

    def _finish_line(self) -> None:
        if self._streamed and not self._streamed.endswith("\n"):
            click.echo()
            self._streamed += "\n"

    def _aside(self, line: str) -> None:
        if self._live:
            self._finish_line()
            click.echo(click.style(show.plain(line), dim=True), err=True)

    def _say_trouble(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            click.echo(f"salver: it waits: {show.plain(trouble)}", err=True)
        self._trouble = trouble


class JsonScreen(Screen):
    """Every event as it came, one JSON object a line; the last one is the end."""

    def show(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            click.echo(json.dumps(event, ensure_ascii=False))
            if event["event"] == "delivery":
                self._keep(event["delivery"])
            if event["event"] == "end":
                self.end = event

    def _keep(self, delivery: dict[str, Any]) -> None:
        if self._save is not None and delivery["id"] not in self._told:
            self._told.add(delivery["id"])
            for file in delivery["files"]:
                files.saved(files.path(delivery, file), self._save)
