"""The command line's way to the server: HTTP over its unix socket, answers as JSON, errors as exit codes."""

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from salver_server.errors import Rejected
from salver_server.settings import places, read_settings

if TYPE_CHECKING:
    import httpx2

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_RUNNING = 3

PATIENCE = 30.0
"""Seconds for an answer; a stream may be silent for as long as a turn takes."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Server:
    def __init__(self, client: "httpx2.Client") -> None:
        self._client = client

    def ask(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """The parsed answer; ends the program with the server's own words when it refuses."""
        try:
            return self.request(method, path, body, **query)
        except Refused as exc:
            exc.end()

    def request(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """The parsed answer; raises `Refused`."""
        try:
            answer = self._client.request(
                method, path, json=body, params={name: str(value) for name, value in query.items()}
            )
        except UnicodeEncodeError:  # bytes that a terminal passes on as half characters
            fail("What was given is no text in UTF-8. Give plain text.", EXIT_USAGE)
        if answer.is_error:
            raise _refused(answer.content, answer.status_code)
        return answer.json() if answer.content else None

    def upload(self, path: Path) -> str:
        """Send a file ahead of the message that it comes with; its id there."""
        try:
            with path.open("rb") as file:
                answer = self._client.post(
                    "/files", params={"name": path.name}, content=file, timeout=None
                )
        except UnicodeEncodeError:
            fail(f"The name of {path} is no text in UTF-8. Rename the file.", EXIT_USAGE)
        except OSError as exc:
            fail(f"{path} cannot be read: {exc.strerror}. Nothing was sent.", EXIT_USAGE)
        if answer.is_error:
            _refused(answer.content, answer.status_code)
        return answer.json()["id"]

    @contextmanager
    def lines(self, path: str) -> "Generator[Generator[dict[str, Any]]]":
        """The JSON lines of a stream, as they come."""
        with self._client.stream("GET", path, timeout=None) as answer:
            if answer.is_error:
                _refused(answer.read(), answer.status_code).end()
            yield (json.loads(line) for line in answer.iter_lines() if line)


class Refused(Exception):
    """The server's own words for not doing it, and what kind of error it is there."""

    def __init__(self, message: str, *, kind: str, code: int) -> None:
        super().__init__(message)
        self.kind = kind
        self._code = code

    def end(self) -> NoReturn:
        """End the program with it."""
        fail(str(self), self._code)


class Cut(Exception):
    """The server went away in the middle."""


class NotRunning(Exception):
    """No server answers; the text is for people."""


@contextmanager
def server(*, patience: float = PATIENCE) -> Generator[Server]:
    """The running server; ends the program with exit code 3 when there is none."""
    try:
        with reached(patience=patience) as house:
            yield house
    except NotRunning as exc:
        fail(str(exc), EXIT_NOT_RUNNING)
    except Cut:
        fail("Salver went away in the middle. `salver status` shows how it is.", EXIT_NOT_RUNNING)


@contextmanager
def reached(*, patience: float = PATIENCE) -> Generator[Server]:
    """The running server; raises `NotRunning` when there is none, and `Cut` when it goes away."""
    try:
        home = read_settings().home
    except Rejected as exc:
        fail(str(exc), EXIT_USAGE)
    where = places(home)
    nobody = f"No Salver is running on {where.home}. Start it with `salver serve`."
    if not where.api_socket.exists():
        raise NotRunning(nobody)
    import httpx2

    transport = httpx2.HTTPTransport(uds=str(where.api_socket))
    try:
        with httpx2.Client(
            transport=transport, base_url="http://salver", timeout=patience
        ) as client:
            yield Server(client)
    except httpx2.ConnectError as exc:
        raise NotRunning(nobody) from exc
    except httpx2.TimeoutException as exc:
        raise NotRunning(
            "Salver did not answer in time. `salver status` shows whether it is well."
        ) from exc
    except httpx2.TransportError as exc:
        raise Cut(str(exc)) from exc


def fail(message: str, code: int) -> NoReturn:
    """End the program with a sentence for people."""
    click.echo(f"salver: {message}", err=True)
    sys.exit(code)


def _refused(content: bytes, status: int) -> Refused:
    kind = ""
    try:
        error = json.loads(content)["error"]
        kind, message = error["kind"], error["message"]
    except (ValueError, KeyError, TypeError):
        message = f"The server answered with status {status}. Its log has the details."
    return Refused(message, kind=kind, code=EXIT_USAGE if status < 424 else EXIT_FAILED)
