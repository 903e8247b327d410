"""Run as a program that kills itself: at the nth look at a file, or at the nth statement of SQL.

Its keychain is a second key file, so that what it holds outlives the kill, and so that its own steps are
points to be killed at.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from salver_server.clock import SystemClock
from salver_server.ids import InstallId, SecretName
from salver_server.kit.secret import Secret
from salver_server.secrets import open_vault
from salver_server.secrets.keychain import KeychainError
from salver_server.secrets.keyfile import KeyFile
from salver_server.store import open_database

WATCHED = ("open", "os.rename", "os.link", "os.remove")

left = -1
"""Steps until the end; below zero nobody counts."""


class Absent(KeyFile):
    def get(self) -> Secret | None:
        raise KeychainError("absent", "there is none")


def step() -> None:
    global left  # the one counter of this program
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= left > 0


def watch(event: str, args: tuple[Any, ...]) -> None:
    if event in WATCHED and "secrets.key" in str(args):
        step()


async def main(home: Path, story: str, steps: int) -> None:
    global left  # the one counter of this program
    keychain = Absent(home) if story == "allow" else KeyFile(home / "keychain")
    async with (
        open_database(home / "salver.db") as database,
        open_vault(
            database, home=home, install=InstallId("ins-1"), clock=SystemClock(), keychain=keychain
        ) as vault,
    ):
        await database.write(lambda conn: conn.set_trace_callback(lambda _: step()))
        left = steps
        match story:
            case "put":
                await vault.put(SecretName("new"), Secret("new"))
            case "allow":
                await vault.allow_key_file()
            case "move":
                await vault.move_to_keychain()
            case _:
                await vault.rotate()
        left = -1


if __name__ == "__main__":
    sys.addaudithook(watch)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
