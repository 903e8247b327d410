import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from salver_server.accounts import EVERYONE, Account, Choice, Model
from salver_server.agents import Skill, Standing, parse
from salver_server.clock import stamp
from salver_server.ids import AgentName, SkillName
from salver_server.runtimes import MIB, Identity, Limits
from salver_server.sessions import launch, store
from tests.fakes.clock import NOON
from tests.server.sessions.conftest import Talk

ME = Identity(uid=os.geteuid(), gid=os.getegid())
ADA = parse("---\nname: Ada\nlimits: {rounds: 7, seconds: 12.5}\n---\nCount.")
ACCOUNT = Account(
    provider="openai",
    agent=EVERYONE,
    base_url="https://api.test/v1",
    model="",
    plain_http=False,
    keyed=True,
    preferred=False,
    created_at=stamp(NOON),
    changed_at=stamp(NOON),
)
GPT = Choice(
    runner="pydantic-ai",
    pack="pydantic-ai",
    models=(Model(account=ACCOUNT, wire="responses", name="gpt-9", window=1000, sees=True),),
)


async def test_a_runner_is_told_all_that_it_has_to_know(talk: Talk) -> None:
    await talk.desk.wake(talk.session)
    await talk.say("harmless")
    await talk.take(talk.scribe.claim(1))
    now = talk.desk.clock.stamp()
    await talk.desk.database.write(
        lambda conn: store.requeue(conn, talk.session, blame=True, now=now)
    )
    row = await talk.row()
    record = launch.record(
        row,
        ADA,
        GPT,
        generation=2,
        token="token",
        pending=await talk.read(lambda conn: store.pending(conn, talk.session)),
        failpoint="",
        base="Speak German.",
        skills=[Skill(name=SkillName("letters"), description="How to.", folder=Path("/skills"))],
    )
    assert record == {
        "protocol": 1,
        "session": talk.session,
        "generation": 2,
        "epoch": row.epoch,
        "read": 1,
        "agent": "Ada",
        "provider": "pydantic-ai",
        "models": [
            {
                "provider": "openai",
                "wire": "responses",
                "model": "gpt-9",
                "window": 1000,
                "sees": True,
            }
        ],
        "instructions": "Count.",
        "token": "token",
        "limits": {"rounds": 7, "seconds": 12.5},
        "surroundings": {
            "base": "Speak German.",
            "skills": [{"name": "letters", "description": "How to."}],
            "web": "listed",
            "memory_mb": 1024,
            "processes": 256,
            "disk_mb": 4096,
        },
        "attempts": {"1": 1},
        "failpoint": "",
        "version": "",
    }


def test_a_change_of_anything_that_a_runner_is_started_with_is_another_version() -> None:
    (model,) = GPT.models
    later = stamp(NOON + timedelta(seconds=1))
    others = [
        replace(GPT, models=()),
        replace(GPT, models=(model, model)),
        replace(GPT, models=(replace(model, name="gpt-8"),)),
        replace(GPT, models=(replace(model, window=0),)),
        replace(GPT, models=(replace(model, account=replace(ACCOUNT, base_url="https://b.test")),)),
        replace(GPT, models=(replace(model, account=replace(ACCOUNT, changed_at=later)),)),
    ]
    versions = {launch.version_of("Count.", choice) for choice in [GPT, *others]}
    versions |= {launch.version_of("Count twice.", GPT)}
    assert len(versions) == len(others) + 2
    preferred = replace(GPT, models=(replace(model, account=replace(ACCOUNT, preferred=True)),))
    assert launch.version_of("Count.", preferred) == launch.version_of("Count.", GPT)


def test_the_record_is_replaced_as_a_whole_and_for_its_reader_alone(tmp_path: Path) -> None:
    path = tmp_path / "launch.json"
    for generation in (1, 2):
        launch.write(path, {"generation": generation}, ME)
        assert json.loads(path.read_text()) == {"generation": generation}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["launch.json"]


def test_a_half_written_record_of_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "launch.new").write_text('{"gener')
    launch.write(tmp_path / "launch.json", {"generation": 1}, ME)
    assert json.loads((tmp_path / "launch.json").read_text()) == {"generation": 1}


def test_an_agent_s_limits_are_in_bytes() -> None:
    agent = parse(
        "---\nlimits: {memory_mb: 64, processes: 8, file_mb: 2, disk_mb: 16, tmp_mb: 3}\n---\n"
    )
    assert launch.limits(agent) == Limits(
        memory=64 * MIB, processes=8, file=2 * MIB, disk=16 * MIB, tmp=3 * MIB
    )


def test_an_agent_that_says_nothing_has_the_limits_of_the_house() -> None:
    assert launch.limits(parse("")) == Limits()


STANDING = Standing(name=AgentName("ada"), definition=ADA, text="", problem="", signature=(0, 0, 0))


async def test_a_model_that_was_chosen_for_the_session_counts(talk: Talk) -> None:
    await talk.write("/model x/org/a")
    found = launch.meant(STANDING, await talk.row()).definition
    assert (found.provider, found.model) == ("x", "org/a")
    assert found.instructions == "Count."
    await talk.write("/model default")
    assert launch.meant(STANDING, await talk.row()) == STANDING
