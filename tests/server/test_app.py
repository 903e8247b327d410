import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from salver_server.app import AlreadyRunning, open_house
from salver_server.clock import stamp
from salver_server.errors import Missing, NeedsUser
from salver_server.ids import AgentName, ChannelName
from salver_server.intake.accept import local
from salver_server.kit.secret import Secret
from salver_server.routing import store as routing
from salver_server.sessions import store
from salver_server.settings import Settings, places
from salver_server.store import Database
from tests.fakes.channel import FakeChannel
from tests.fakes.clock import NOON, FakeClock
from tests.fakes.keychain import FakeKeychain
from tests.fakes.runtime import FAKE, NAME
from tests.server.conftest import SALVER

RUNTIMES = {NAME: FAKE}

LOADED = """\
import asyncio, sys
from salver_server.app import open_house
from salver_server.settings import read_settings

async def main():
    async with open_house(read_settings()):
        print(*sys.modules)

asyncio.run(main())
"""


@pytest.fixture
def settings(quick_path: Path) -> Settings:
    return Settings(home=quick_path / "home", runtime=NAME, keep_free=0)


async def refused(settings: Settings, *, port: int = 0) -> str:
    """Why the house can't be opened."""
    with pytest.raises(NeedsUser) as found:
        async with open_house(settings, port=port, runtime_specs=RUNTIMES):
            pass
    return str(found.value)


async def test_everything_in_the_house_is_its_owner_s_alone(settings: Settings) -> None:
    before = os.umask(0)
    try:
        async with open_house(settings, runtime_specs=RUNTIMES) as running:
            where = places(settings.home)
            folders = [settings.home, where.run, where.logs, where.sessions, where.homes, where.agents, where.sockets]  # fmt: skip
            assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
            files = [where.database, where.lock, running.socket]
            assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    finally:
        os.umask(before)


async def test_a_folder_that_was_open_to_others_is_shut(settings: Settings) -> None:
    settings.home.mkdir(mode=0o755)
    async with open_house(settings, runtime_specs=RUNTIMES):
        assert settings.home.stat().st_mode & 0o777 == 0o700


async def test_a_second_server_is_told_who_came_first(settings: Settings) -> None:
    async with open_house(settings, runtime_specs=RUNTIMES) as running:
        with pytest.raises(AlreadyRunning) as found:
            async with open_house(settings, runtime_specs=RUNTIMES):
                pass
        assert str(found.value) == (
            f"Salver is already running on {settings.home}: process {os.getpid()}, "
            f"address 127.0.0.1:{running.port}. "
            "Talk to that one, stop it, or set SALVER_HOME to another folder."
        )
        assert running.socket.is_socket()


async def test_whoever_finds_the_lock_finds_the_server(settings: Settings) -> None:
    async with open_house(settings, runtime_specs=RUNTIMES) as running:
        assert json.loads(places(settings.home).lock.read_text()) == {
            "pid": os.getpid(),
            "socket": str(running.socket),
            "address": f"127.0.0.1:{running.port}",
        }


async def test_a_house_that_was_closed_can_be_opened_again(settings: Settings) -> None:
    for _ in range(2):
        async with open_house(settings, runtime_specs=RUNTIMES) as running:
            assert running.socket.is_socket()
        assert not running.socket.exists()


async def test_a_start_asks_no_keychain(settings: Settings) -> None:
    keychain = FakeKeychain()
    async with open_house(settings, runtime_specs=RUNTIMES, keychain=keychain) as running:
        await running.rooms.accounts.put("openai", key=Secret("sk-1"))
    keychain.calls.clear()
    async with open_house(settings, runtime_specs=RUNTIMES, keychain=keychain) as running:
        assert (running.rooms.vault.standing().state, keychain.calls) == ("unasked", [])


def test_a_start_loads_nothing_that_only_keys_and_calls_need(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        env={**os.environ, "SALVER_HOME": str(settings.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "salver_server.secrets.vault" in loaded
    assert loaded & {"keyring", "cryptography", "secretstorage", "httpx2"} == set()


async def test_with_consent_given_at_the_start_a_key_file_is_made_when_it_is_needed(
    settings: Settings,
) -> None:
    keychain = FakeKeychain()
    keychain.fail("absent")
    async with open_house(
        settings, runtime_specs=RUNTIMES, keychain=keychain, key_file=True
    ) as running:
        assert not (settings.home / "secrets.key").exists()
        await running.rooms.accounts.put("openai", key=Secret("sk-1"))
        assert running.rooms.vault.standing().state == "file"


async def test_a_folder_that_can_not_be_made_is_said(settings: Settings) -> None:
    settings.home.touch()
    assert await refused(settings) == (
        f"{settings.home} cannot be made: File exists. "
        "Set SALVER_HOME to a folder that you may write to."
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
async def test_a_folder_of_somebody_else_is_not_used(settings: Settings) -> None:
    settings.home.mkdir()
    os.chown(settings.home, 54321, 54321)
    assert (await refused(settings)).startswith(f"{settings.home} is no folder of yours.")


async def test_a_port_that_is_taken_is_said(settings: Settings) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert await refused(settings, port=port) == (
            f"Salver cannot listen on 127.0.0.1:{port}: Address already in use. "
            "Choose another with --port, or 0 for a free one."
        )


async def test_a_database_from_the_future_is_not_opened(settings: Settings) -> None:
    async with open_house(settings, runtime_specs=RUNTIMES):
        pass
    with closing(sqlite3.connect(places(settings.home).database)) as conn:
        conn.execute("PRAGMA user_version = 9999")
    assert "salver.db has version 9999" in await refused(settings)


async def test_a_house_that_could_not_be_opened_leaves_nothing_in_the_way(
    settings: Settings,
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        await refused(settings, port=taken.getsockname()[1])
    async with open_house(settings, runtime_specs=RUNTIMES) as running:
        assert running.socket.is_socket()


# What meets in it


async def test_a_message_that_comes_in_by_a_channel_waits_in_its_session(
    settings: Settings, clock: FakeClock
) -> None:
    channel = FakeChannel()
    async with open_house(
        settings,
        clock=clock,
        channel_specs={channel.spec.name: channel.spec},
        runtime_specs=RUNTIMES,
    ) as running:
        await running.rooms.keeper.stop()
        with pytest.raises(Missing):
            await channel.receive("hello", address="family")
        await serve(running.rooms.database, channel.spec.name, "family")
        await channel.receive("hello", address="family")
        (session,) = await running.rooms.database.read(store.sessions)
        assert (session.agent, session.state) == (SALVER, "open")
    assert not channel.is_open


async def serve(database: Database, channel: ChannelName, address: str) -> None:
    """Let the first agent serve this chat."""

    def wire(conn: store.Connection) -> None:
        chat = routing.new_chat(
            conn, channel, address, title=address, is_group=True, now=stamp(NOON)
        )
        routing.wire(conn, chat, SALVER, mode="shared", engagement="every-message")

    await database.write(wire)


async def test_what_was_accepted_outlives_a_restart(settings: Settings, clock: FakeClock) -> None:
    message = local(
        SALVER, "hello", key="7", sender="you", thread=None, sent_at=clock.now(), due_at=None
    )
    async with open_house(settings, clock=clock, runtime_specs=RUNTIMES) as running:
        await running.rooms.keeper.stop()
        first = await running.rooms.intake(message)
    async with open_house(settings, clock=clock, runtime_specs=RUNTIMES) as running:
        again = await running.rooms.intake(message)
    assert (again.message, again.again) == (first.message, True)


async def test_a_house_opens_although_a_sandbox_on_record_was_of_an_agent_that_is_gone(
    settings: Settings, clock: FakeClock
) -> None:
    async with open_house(settings, clock=clock, runtime_specs=RUNTIMES) as running:
        rooms = running.rooms
        await rooms.keeper.stop()
        await rooms.agents.new("ada")
        found = await rooms.intake(
            local(AgentName("ada"), "hello", key="7", sender="you", thread=None, sent_at=clock.now(), due_at=None)
        )  # fmt: skip
        await rooms.agents.remove(AgentName("ada"))
        await rooms.database.write(
            lambda conn: store.raise_generation(
                conn, found.sessions[0], runtime=NAME, token_hash=b"", now=clock.stamp()
            )
        )
    async with open_house(settings, clock=clock, runtime_specs=RUNTIMES) as running:
        (row,) = await running.rooms.database.read(store.sessions)
        assert row.agent == "ada"
