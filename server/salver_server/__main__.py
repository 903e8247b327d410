"""The program `salver`: `serve` is owned here, every other command speaks to a running server."""

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from salver_server.cli import EXIT_USAGE, commands
from salver_server.cli.connection import json_option
from salver_server.errors import SalverError
from salver_server.kit.logs import to_stderr
from salver_server.settings import Settings, read_settings

if TYPE_CHECKING:
    from salver_server.app import Running


@click.group(commands=commands)
@click.version_option(package_name="salver", message="%(prog)s %(version)s")
def main() -> None:
    """Personal AI agents on your own computer, each session in its own sandbox."""


@main.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="TCP port on 127.0.0.1.",
)
@click.option(
    "--allow-key-file",
    "key_file",
    is_flag=True,
    help="Where there is no keychain, let a file hold the key that seals your secrets.",
)
@json_option
def serve(port: int, key_file: bool, as_json: bool) -> None:
    """Start the server and stay until it is ended."""
    to_stderr()
    try:
        sys.exit(asyncio.run(_serve(read_settings(), port, key_file=key_file, as_json=as_json)))
    except* SalverError as group:
        for exc in _leaves(group):
            click.echo(f"salver: {exc}", err=True)
        sys.exit(EXIT_USAGE)


async def _serve(settings: Settings, port: int, *, key_file: bool, as_json: bool) -> int:
    from salver_server.app import open_house  # half a second of imports that no other command needs

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with open_house(settings, port=port, key_file=key_file) as house:
        problems = [
            f"runtime '{name}' does not work here: {probe.reason} {probe.fix}"
            for name, probe in (await house.rooms.probes()).items()
            if not probe.works
        ]
        if (keys := house.rooms.vault.standing()).state == "file":
            problems.append(keys.advice)
        click.echo(_as_json(house, problems) if as_json else _in_words(house, problems))
        sys.stdout.flush()
        await ended.wait()
        if not as_json:
            click.echo("Ending; what is being worked on goes on at the next start.")
    return 0


def _in_words(house: "Running", problems: list[str]) -> str:
    lines = [
        f"Salver is ready, with its data in {house.rooms.settings.home}.",
        f'Talk to it from another terminal:  {_command()} chat "hello"',
        "End it with Ctrl-C.",
        *(f"But: {problem}" for problem in problems),
    ]
    return "\n".join(lines)


def _as_json(house: "Running", problems: list[str]) -> str:
    """One line, which says that it is ready."""
    found = {
        "pid": house.rooms.pid,
        "home": str(house.rooms.settings.home),
        "socket": str(house.socket),
        "address": f"127.0.0.1:{house.port}",
        "problems": problems,
    }
    return json.dumps(found, ensure_ascii=False)


def _leaves(group: BaseExceptionGroup[SalverError]) -> Iterator[SalverError]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc


def _command() -> str:
    """What to type for this very program: short, but never another one of the same name."""
    program = Path(sys.argv[0]).absolute()
    found = shutil.which("salver")
    if program.name != "salver" or (found and Path(found).absolute() == program):
        return "salver"
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)


if __name__ == "__main__":
    main()
