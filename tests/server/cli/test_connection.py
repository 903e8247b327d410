"""Whom the command line reaches, and how it ends: 0 ok, 1 failed, 2 wrong, 3 no server."""

import asyncio
import os
import socket
import subprocess
import sys
from dataclasses import dataclass

import pytest

from salver_server.settings import places
from tests.server.cli.conftest import Rude, Shell, hanging_up, saying

COMMANDS = [
    ("status",),
    ("stop", "--all"),
    ("resume",),
    ("agents", "list"),
    ("agents", "show", "salver"),
    ("agents", "new", "ada"),
    ("agents", "remove", "salver"),
    ("sessions", "list"),
    ("sessions", "show", "ses-x"),
    ("sessions", "stop", "ses-x"),
    ("sessions", "close", "ses-x"),
    ("provider", "list"),
    ("provider", "set", "openai"),
    ("provider", "test", "openai"),
    ("provider", "remove", "openai"),
    ("keychain", "status"),
    ("keychain", "unlock"),
    ("keychain", "allow-file"),
    ("keychain", "move"),
    ("keychain", "rotate"),
    ("keychain", "uses"),
    ("chat", "hello"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
async def test_without_a_server_every_command_says_how_to_start_one(
    shell: Shell, words: tuple[str, ...]
) -> None:
    done = await shell.run(*words)
    assert (done.code, done.out) == (3, "")
    assert done.err == (
        f"salver: No Salver is running on {shell.home}. Start it with `salver serve`.\n"
    )


async def test_the_socket_of_a_server_that_was_killed_is_nobody(shell: Shell) -> None:
    path = places(shell.home).api_socket
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "salver_server", "status"],
        env={**os.environ, "SALVER_HOME": str(shell.home)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"No Salver is running" in done.stderr


@pytest.mark.parametrize("words", COMMANDS[:-1], ids=" ".join)
async def test_a_server_that_goes_away_in_the_middle_is_missed(
    shell: Shell, rude: Rude, words: tuple[str, ...]
) -> None:
    rude.answers = [hanging_up]
    done = await shell.run(*words)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("salver: Salver went away in the middle.")


async def test_a_setting_that_can_not_be_used_is_named(shell: Shell) -> None:
    done = await shell.run("status", SALVER_IDLE="soon")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("salver: SALVER_IDLE is not usable: ")
    assert done.err.endswith("Correct it or unset it.\n")


@dataclass(frozen=True, kw_only=True)
class Case:
    status: int
    code: int


@pytest.mark.parametrize(
    "case",
    [
        Case(status=404, code=2),
        Case(status=409, code=2),
        Case(status=422, code=2),
        Case(status=424, code=1),
        Case(status=500, code=1),
        Case(status=503, code=1),
    ],
    ids=lambda case: f"{case.status}",
)
async def test_the_server_s_own_words_are_printed_and_the_code_says_whose_turn_it_is(
    shell: Shell, rude: Rude, case: Case
) -> None:
    error = {"error": {"kind": "So", "message": "So it is. Do this."}}
    rude.answers = [saying(error, status=case.status)]
    done = await shell.run("status")
    assert (done.code, done.out, done.err) == (case.code, "", "salver: So it is. Do this.\n")


@pytest.mark.parametrize("body", [b"Internal Server Error", b"", b"[]", b'{"detail": "No"}'])
async def test_an_answer_without_words_of_its_own_is_explained(
    shell: Shell, rude: Rude, body: bytes
) -> None:
    rude.answers = [saying(body, status=500)]
    done = await shell.run("status")
    assert (done.code, done.out) == (1, "")
    assert done.err == "salver: The server answered with status 500. Its log has the details.\n"


async def test_an_unknown_command_or_option_is_the_caller_s_mistake(shell: Shell) -> None:
    for words in (("sing",), ("status", "--loud"), ("agents", "show")):
        assert (await shell.run(*words)).code == 2
