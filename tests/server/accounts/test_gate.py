"""A session's way out: one upstream for each account, and the packs that its runner needs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from salver_server.accounts import ModelGate
from salver_server.accounts.gate import upstreams
from salver_server.agents import parse
from salver_server.clock import SystemClock
from salver_server.errors import NeedsUser
from salver_server.gateway import open_gateway, token_hash
from salver_server.ids import SessionId
from tests.fakes.meter import FakeMeter
from tests.server.accounts.conftest import ADA, KEY, Desk, key

SESSION = SessionId("ses-1")


class Shelf:
    """Packs that are there at once."""

    async def ready(self, name: str, *, say: Callable[[str], None]) -> Path:
        say("Looking")
        return Path("/packs") / name


async def test_everyone_gets_a_door_and_packages_where_they_need_some(
    desk: Desk, quick_path: Path
) -> None:
    async with open_gateway(SystemClock(), meter=FakeMeter()) as gateway:
        gate = ModelGate(gateway=gateway, packs=Shelf(), accounts=desk.accounts)
        for text, pack in (("provider: demo", ""), ("provider: openai", "pydantic-ai")):
            await desk.accounts.put("openai", key=key())
            choice = gate.choose(ADA, parse(f"---\n{text}\n---\n"))
            path = quick_path / "door"
            await gate.open(SESSION, path, agent=ADA, token_hash=token_hash("token"), choice=choice)
            assert path.is_socket()
            await gate.close(SESSION)
            packs = await gate.packs(choice, lambda _: None)
            assert packs == ({pack: Path("/packs") / pack} if pack else {})


async def test_a_session_s_keys_are_fetched_by_its_first_call_and_on_record_for_it(
    desk: Desk,
) -> None:
    await desk.accounts.put("openai", key=key())
    await desk.accounts.put("openai-compatible", base_url="https://a.test", model="m")
    choice = desk.accounts.choose(
        ADA, parse("---\nprovider: openai\nfallback: [openai/gpt-8, openai-compatible]\n---\n")
    )
    calls = upstreams(desk.accounts, choice.models, purpose="model calls", session=SESSION)
    assert [(one.name, one.wire, one.url) for one in calls] == [
        ("openai", "responses", "https://api.openai.com/v1"),
        ("openai-compatible", "chat", "https://a.test"),
    ]
    assert await desk.vault.uses() == []
    keyed, keyless = calls
    found = await keyed.key()
    assert found is not None
    assert (found.reveal(), await keyless.key()) == (KEY, None)
    (use,) = await desk.vault.uses()
    assert (use.purpose, use.session) == ("model calls", SESSION)
    assert KEY not in repr(calls)
    await desk.accounts.put("openai", base_url="https://b.test")
    with pytest.raises(NeedsUser, match="was changed or removed meanwhile"):
        await keyed.key()
