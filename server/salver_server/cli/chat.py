"""`salver chat`: say something, watch the answer come, end with the final reply."""

import json
import secrets
import sys
import time
from collections.abc import Iterable
from typing import Any

import click

from salver_server.cli.connection import (
    EXIT_FAILED,
    EXIT_NOT_RUNNING,
    EXIT_USAGE,
    Cut,
    fail,
    json_option,
    server,
)

RECONNECT = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts to find a server that went away in the middle."""


@click.command()
@click.argument("text")
@click.option("--agent", metavar="NAME", help="The agent to talk to; the first one unless given.")
@click.option(
    "--session", metavar="ID", help="The session to go on with; the agent's main one unless given."
)
@click.option("--new", "fresh", is_flag=True, help="Begin a new session.")
@json_option
def chat(text: str, agent: str | None, session: str | None, fresh: bool, as_json: bool) -> None:
    """Send TEXT to an agent and print its reply; - reads it from stdin.

    On a terminal the reply streams and tool calls are shown. Else only the final reply is printed. With
    --json each event is a line, and the last one holds the final reply.
    """
    if text == "-":
        text = sys.stdin.read()
    body = {
        "text": text,
        "agent": agent,
        "session": session,
        "new": fresh,
        "key": secrets.token_hex(16),
    }
    screen: Screen = JsonScreen() if as_json else Screen()
    accepted: dict[str, Any] | None = None
    for wait in (*RECONNECT, None):
        try:
            with server() as house:
                accepted = accepted or house.ask("POST", "/messages", body)
                assert accepted is not None
                with house.lines(f"/messages/{accepted['id']}/events") as events:
                    screen.show(events)
        except Cut:
            pass
        except SystemExit as exc:
            # A server that is just starting again does not answer yet.
            if accepted is None or exc.code != EXIT_NOT_RUNNING:
                raise
        except KeyboardInterrupt:
            _left(accepted)
        else:
            if screen.end is not None:
                break
        if wait is None:
            fail(
                "Salver went away. The message is kept and is answered at its next start.",
                EXIT_NOT_RUNNING,
            )
        time.sleep(wait)
    assert screen.end is not None
    if screen.end["state"] not in ("delivered", "perhaps delivered", "answered"):
        sys.exit(EXIT_FAILED)


def _left(accepted: dict[str, Any] | None) -> None:
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

    def __init__(self) -> None:
        self.end: dict[str, Any] | None = None
        self._live = sys.stdout.isatty()
        self._streamed = ""
        self._trouble = ""

    def show(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            match event["event"]:
                case "state":
                    self._say_trouble(event["trouble"])
                case "text" if self._live:
                    click.echo(event["text"], nl=False)
                    self._streamed += event["text"]
                case "again" if self._live:
                    self._aside("· the answer was cut off and begins again")
                    self._streamed = event["text"]
                    click.echo(event["text"], nl=False)
                case "tool":
                    self._aside(f"· {event['text']}")
                case "delivery" if event["delivery"]["kind"] == "send":
                    self._finish_line()
                    click.echo(event["delivery"]["text"])
                case "end":
                    self.end = event
                    self._finish(event)
                case _:
                    pass

    def _finish(self, end: dict[str, Any]) -> None:
        self._finish_line()
        if end["reply"] and self._streamed.strip() != end["reply"].strip():
            click.echo(end["reply"])
        if end["reason"]:
            click.echo(f"salver: {end['state']}: {end['reason']}", err=True)

    def _finish_line(self) -> None:
        if self._streamed and not self._streamed.endswith("\n"):
            click.echo()
            self._streamed += "\n"

    def _aside(self, line: str) -> None:
        if self._live:
            self._finish_line()
            click.echo(click.style(line, dim=True), err=True)

    def _say_trouble(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            click.echo(f"salver: it waits: {trouble}", err=True)
        self._trouble = trouble


class JsonScreen(Screen):
    """Every event as it came, one JSON object a line; the last one is the end."""

    def show(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            click.echo(json.dumps(event, ensure_ascii=False))
            if event["event"] == "end":
                self.end = event
