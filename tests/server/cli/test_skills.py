import pytest

from tests.server.cli.conftest import Rude, Shell, saying


@pytest.mark.usefixtures("stopped")
async def test_a_house_without_skills_says_where_they_go(shell: Shell) -> None:
    assert (await shell.ok("skills", "list")).startswith("There is no skill. Put one in skills/")


async def test_skills_are_listed_as_a_table(shell: Shell, rude: Rude) -> None:
    skill = {"name": "letters", "description": "How " * 40, "agents": ["ada", "bob"], "problem": ""}
    rude.answers += [saying([skill])] * 2
    _, row = (await shell.ok("skills", "list")).splitlines()
    assert row.startswith("letters  ada, bob  How How")
    assert row.endswith("…")
    assert (await shell.run("skills", "list", "--json")).json == [skill]


async def test_what_an_agent_does_without_is_said_beside_the_list(shell: Shell, rude: Rude) -> None:
    agent = {
        "name": "ada",
        "title": "Ada",
        "provider": "demo",
        "model": "",
        "runs_with": "demo",
        "problem": "",
        "waits": "",
    }
    rude.answers.append(saying([agent | {"warnings": ["There is no skill 'sums'."]}]))
    done = await shell.run("agents", "list")
    assert (done.code, done.err) == (0, "salver: ada: There is no skill 'sums'.\n")
