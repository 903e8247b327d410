"""Whoever types `--help` is told what each command and option does."""

from collections.abc import Iterator

import click

from salver_server.__main__ import main


def test_every_command_and_option_has_its_help() -> None:
    silent = [
        f"{path} {option}".strip()
        for path, command in commands(main, "salver")
        for option, text in helps(command)
        if not text
    ]
    assert silent == []


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child, f"{path} lists {name!r} and doesn't have it"
            yield from commands(child, f"{path} {name}")


def helps(command: click.Command) -> Iterator[tuple[str, str | None]]:
    yield "", command.help
    for option in command.params:
        if isinstance(option, click.Option):
            yield option.opts[0], option.help
