"""The other `salver` commands; they speak to the API of a running server only.

Exit codes: 0 ok, 1 the turn failed, 2 the request was wrong, 3 no server runs.
"""

import click

from salver_server.cli.agents import agents
from salver_server.cli.chat import chat
from salver_server.cli.connection import EXIT_USAGE
from salver_server.cli.house import resume, status, stop
from salver_server.cli.keychain import keychain
from salver_server.cli.messages import messages
from salver_server.cli.provider import provider
from salver_server.cli.sessions import sessions
from salver_server.cli.skills import skills
from salver_server.cli.usage import usage

commands: dict[str, click.Command] = {
    command.name or "": command
    for command in (
        *(chat, agents, skills, provider, sessions, messages),
        *(keychain, usage, status, stop, resume),
    )
}

__all__ = ["EXIT_USAGE", "commands"]
