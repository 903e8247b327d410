import asyncio
from pathlib import Path

import pytest

from tests.server.api.conftest import House

ADA = "---\nname: Ada\nmodel: gpt-9\n---\nCount."


async def test_the_first_agent_is_there(house: House) -> None:
    assert await house.ask("GET", "/agents") == [
        {
            "name": "salver",
            "title": "Salver",
            "provider": "",
            "model": "",
            "runs_with": "demo",
            "problem": "",
            "warnings": [],
            "waits": "",
        }
    ]


async def test_an_agent_is_made_read_changed_and_removed(house: House) -> None:
    made = await house.ask("POST", "/agents", {"name": "ada", "text": ADA}, status=201)
    assert made == {
        "name": "ada",
        "title": "Ada",
        "provider": "",
        "model": "gpt-9",
        "runs_with": "demo",
        "problem": "",
        "warnings": [],
        "waits": "",
        "text": ADA,
    }
    assert await house.ask("GET", "/agents/ada") == made
    changed = await house.ask("PUT", "/agents/ada", {"text": "Count slowly."})
    assert (changed["title"], changed["text"]) == ("Salver", "Count slowly.")
    removed = await house.ask("DELETE", "/agents/ada")
    assert (Path(removed["folder"]) / "AGENT.md").read_text() == "Count slowly."
    status, kind, _ = await house.refused("GET", "/agents/ada")
    assert (status, kind) == (404, "Missing")


async def test_a_new_agent_can_be_written_to_at_once(house: House) -> None:
    await house.ask("POST", "/agents", {"name": "ada"}, status=201)
    await house.say(agent="ada")


async def test_an_agent_made_by_hand_can_be_written_to_at_once(house: House) -> None:
    folder = house.running.rooms.settings.home / "agents" / "bob"
    folder.mkdir()
    (folder / "AGENT.md").write_text("Talk.")
    await house.say(agent="bob")


async def test_a_broken_file_shows_its_problem_beside_the_text_that_counts(house: House) -> None:
    file = house.running.rooms.settings.home / "agents" / "salver" / "AGENT.md"
    good = file.read_text()
    file.write_text("---\ncolour: red\n---\n")
    found = await house.ask("GET", "/agents/salver")
    assert found["text"] == good
    assert found["problem"].startswith("AGENT.md, field 'colour': Extra inputs")
    (listed,) = await house.ask("GET", "/agents")
    assert listed["problem"] == found["problem"]


async def test_an_agent_that_was_never_usable_is_shown_mended_and_removed(house: House) -> None:
    for name in ("odd", "worse"):
        folder = house.running.rooms.settings.home / "agents" / name
        folder.mkdir()
        (folder / "AGENT.md").write_text("---\ncolour: red\n---\n")
    odd, salver, worse = await house.ask("GET", "/agents")
    assert (odd["name"], salver["name"], worse["name"]) == ("odd", "salver", "worse")
    assert (odd["provider"], salver["problem"]) == ("", "")
    assert "AGENT.md, field 'colour'" in odd["problem"]
    await house.ask("PUT", "/agents/odd", {"text": ADA})
    await house.ask("DELETE", "/agents/worse")
    assert [it["problem"] for it in await house.ask("GET", "/agents")] == ["", ""]
    for method in ("PUT", "DELETE"):
        status, kind, _ = await house.refused(method, "/agents/nobody", {"text": ADA})
        assert (status, kind) == (404, "Missing")


async def test_a_text_that_can_not_be_used_is_refused(house: House) -> None:
    await house.ask("POST", "/agents", {"name": "ada", "text": ADA}, status=201)
    broken = {"text": "---\nmounts: [/etc]\n---\n"}
    status, kind, words = await house.refused("PUT", "/agents/ada", broken)
    assert (status, kind) == (422, "Rejected")
    assert "'mounts': it reaches beyond the sandbox" in words
    assert (await house.ask("GET", "/agents/ada"))["text"] == ADA


async def test_there_is_one_agent_of_each_name(house: House) -> None:
    status, kind, words = await house.refused("POST", "/agents", {"name": "salver"})
    assert (status, kind) == (409, "Conflict")
    assert "There is an agent 'salver' already" in words


@pytest.mark.parametrize("name", ["..", ".", ".removed", "a%00b", "x" * 300, "A", "%2e%2e"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_name_that_no_agent_has_leads_nowhere(house: House, method: str, name: str) -> None:
    (house.running.rooms.settings.home / "AGENT.md").write_text("Outside.")
    reader, writer = await asyncio.open_unix_connection(house.running.socket)
    head = f"{method} /agents/{name} HTTP/1.1\r\nHost: salver\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())  # no client resolves it on the way
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_removing_an_agent_closes_its_sessions(house: House) -> None:
    await house.ask("POST", "/agents", {"name": "ada"}, status=201)
    sent = await house.say(agent="ada")
    await house.ask("DELETE", "/agents/ada")
    assert await house.ask("GET", "/sessions") == []
    assert (await house.ask("GET", f"/sessions/{sent['session']}"))["open"] is False
    assert (await house.ask("GET", f"/messages/{sent['id']}"))["state"] == "cancelled"


async def test_an_agent_whose_folder_vanished_can_be_removed(house: House) -> None:
    await house.ask("POST", "/agents", {"name": "ada"}, status=201)
    folder = house.running.rooms.settings.home / "agents" / "ada"
    (folder / "AGENT.md").unlink()
    folder.rmdir()
    await house.ask("DELETE", "/agents/ada")
    assert [agent["name"] for agent in await house.ask("GET", "/agents")] == ["salver"]


async def test_a_person_is_shown_what_is_asked_for_and_agrees_to_that(house: House) -> None:
    text = "---\nsites: [en.example.org]\n---\nRead."
    made = await house.ask("POST", "/agents", {"name": "ada", "text": text}, status=201)
    assert made["waits"] == "web: waits for your consent: `salver agents allow ada`"
    asked = await house.ask("GET", "/agents/ada/reach")
    assert asked == {
        "what": '{"web":"listed","sites":["en.example.org"]}',
        "told": ["web: listed", "  It may exchange anything with en.example.org by https."],
        "agreed": False,
    }
    status, kind, _ = await house.refused("PUT", "/agents/ada/consent", {"what": "{}"})
    assert (status, kind) == (409, "Conflict")
    agreed = await house.ask("PUT", "/agents/ada/consent", {"what": asked["what"]})
    assert agreed == {**asked, "agreed": True}
    assert (await house.ask("GET", "/agents/ada"))["waits"] == ""
    assert (await house.ask("DELETE", "/agents/ada/consent"))["agreed"] is False
    assert await house.ask("GET", "/agents/salver/reach") == {
        "what": "",
        "told": [],
        "agreed": False,
    }
