from tests.server.api.conftest import House

LETTERS = "---\nname: letters\ndescription: How to write letters.\n---\nBegin politely.\n"


async def test_skills_are_listed_with_who_reads_them_and_what_is_wrong(house: House) -> None:
    folder = house.running.rooms.settings.home / "skills" / "letters"
    folder.mkdir()
    (folder / "SKILL.md").write_text(LETTERS, encoding="utf-8")
    text = "---\nname: Ada\nskills: [letters, sums]\n---\nCount."
    await house.ask("POST", "/agents", {"name": "ada", "text": text}, status=201)
    letters, sums = await house.ask("GET", "/skills")
    assert letters == {
        "name": "letters",
        "description": "How to write letters.",
        "agents": ["ada"],
        "problem": "",
    }
    assert (sums["name"], sums["agents"], sums["description"]) == ("sums", ["ada"], "")
    assert sums["problem"].startswith("There is no skill 'sums'")
    ada, salver = await house.ask("GET", "/agents")
    assert (ada["warnings"], salver["warnings"]) == ([sums["problem"]], [])


async def test_a_house_without_skills_lists_none(house: House) -> None:
    assert await house.ask("GET", "/skills") == []
