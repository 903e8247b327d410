import logging
import shutil
from pathlib import Path

import pytest

from salver_server.agents import AgentBook, SkillBook, store
from salver_server.agents.book import FIRST
from salver_server.errors import Conflict, Missing, Rejected
from salver_server.ids import AgentName
from salver_server.store import Database
from tests.fakes.clock import FakeClock

ADA = AgentName("ada")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "agents"


async def opened(folder: Path, database: Database, clock: FakeClock) -> AgentBook:
    """The book as a server that starts has it."""
    book = AgentBook(
        folder=folder, skills=SkillBook(folder.parent / "skills"), database=database, clock=clock
    )
    await book.open()
    return book


@pytest.fixture
async def book(folder: Path, database: Database, clock: FakeClock) -> AgentBook:
    """A book with Ada in it."""
    book = await opened(folder, database, clock)
    await book.new(ADA, "---\nname: Ada\n---\nCount.")
    return book


def write(folder: Path, name: str, text: str) -> None:
    """Somebody edits the file by hand."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "AGENT.md").write_text(text, encoding="utf-8")


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def test_a_new_house_has_one_agent(
    folder: Path, database: Database, clock: FakeClock
) -> None:
    book = await opened(folder, database, clock)
    assert [standing.name for standing in await book.refresh()] == [FIRST]
    standing = await book.get(FIRST)
    assert (standing.definition.name, standing.problem) == ("Salver", "")
    assert (folder / FIRST / "AGENT.md").read_text() == standing.text


async def test_a_house_with_an_agent_gets_no_other(
    folder: Path, database: Database, clock: FakeClock
) -> None:
    write(folder, ADA, "Count.")
    book = await opened(folder, database, clock)
    assert [standing.name for standing in await book.refresh()] == [ADA]


async def test_an_edit_by_hand_counts_at_the_next_look(book: AgentBook, folder: Path) -> None:
    write(folder, ADA, "---\nname: Lovelace\n---\nCount and write.")
    standing = await book.get(ADA)
    assert (standing.definition.name, standing.definition.instructions) == (
        "Lovelace",
        "Count and write.",
    )


async def test_an_agent_made_by_hand_is_found(book: AgentBook, folder: Path) -> None:
    write(folder, "bob", "Talk.")
    assert [standing.name for standing in await book.refresh()] == ["ada", "bob", "salver"]


async def test_a_folder_that_is_no_agent_is_passed_over(book: AgentBook, folder: Path) -> None:
    write(folder, "No Name", "Talk.")
    write(folder, ".hidden", "Talk.")
    (folder / "empty").mkdir()
    (folder / "file").touch()
    assert [standing.name for standing in await book.refresh()] == ["ada", "salver"]


async def test_a_broken_file_leaves_the_last_good_version_and_says_why(
    book: AgentBook, folder: Path
) -> None:
    write(folder, ADA, "---\nname: Ada\ncolour: red\n---\nCount differently.")
    standing = await book.get(ADA)
    assert standing.definition.instructions == "Count."
    assert "field 'colour'" in standing.problem


async def test_a_file_that_is_no_text_leaves_the_last_good_version(
    book: AgentBook, folder: Path
) -> None:
    (folder / ADA / "AGENT.md").write_bytes(b"\xff\xfe\x00")
    standing = await book.get(ADA)
    assert (standing.definition.instructions, bool(standing.problem)) == ("Count.", True)


async def test_the_last_good_version_and_the_reason_outlive_a_restart(
    book: AgentBook, folder: Path, database: Database, clock: FakeClock
) -> None:
    write(folder, ADA, "---\nname: [\n---\n")
    before = await book.get(ADA)
    again = await opened(folder, database, clock)
    standing = await again.get(ADA)
    assert standing.definition.instructions == "Count."
    assert standing.problem == before.problem
    assert "line 2" in standing.problem


async def test_a_corrected_file_counts_and_its_problem_is_forgotten(
    book: AgentBook, folder: Path, database: Database, clock: FakeClock
) -> None:
    good = (folder / ADA / "AGENT.md").read_text()
    write(folder, ADA, "---\nname: [\n---\n")
    await book.get(ADA)
    write(folder, ADA, good)
    assert (await book.get(ADA)).problem == ""
    again = await opened(folder, database, clock)
    assert (await again.get(ADA)).problem == ""


async def test_a_file_that_vanished_leaves_the_agent_as_it_was(
    book: AgentBook, folder: Path
) -> None:
    (folder / ADA / "AGENT.md").unlink()
    standing = await book.get(ADA)
    assert standing.definition.instructions == "Count."
    assert standing.problem == "AGENT.md is gone. Put it back, or remove the agent."


async def test_a_list_of_agents_shows_whose_file_vanished(book: AgentBook, folder: Path) -> None:
    shutil.rmtree(folder / ADA)
    problems = {standing.name: standing.problem for standing in await book.refresh()}
    assert "AGENT.md is gone" in problems[ADA]


async def test_a_file_that_came_back_counts_again(book: AgentBook, folder: Path) -> None:
    (folder / ADA / "AGENT.md").rename(folder / "aside")
    await book.get(ADA)
    (folder / "aside").rename(folder / ADA / "AGENT.md")
    assert (await book.get(ADA)).problem == ""


async def test_an_agent_that_was_never_usable_says_why(book: AgentBook, folder: Path) -> None:
    write(folder, "bob", "---\ncolour: red\n---\n")
    with pytest.raises(Rejected, match=r"Agent 'bob': .*field 'colour'"):
        await book.get(AgentName("bob"))


async def test_an_agent_that_was_never_usable_stands_in_nobody_s_way(
    book: AgentBook, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder, "bob", "---\ncolour: red\n---\n")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert [standing.name for standing in await book.refresh()] == ["ada", "salver"]
    assert len(caplog.records) == 1


async def test_a_house_starts_although_an_agent_was_never_usable(
    folder: Path, database: Database, clock: FakeClock
) -> None:
    write(folder, ADA, "Count.")
    write(folder, "bob", "---\ncolour: red\n---\n")
    book = await opened(folder, database, clock)
    assert [standing.name for standing in await book.refresh()] == [ADA]


async def test_a_house_whose_only_agent_was_never_usable_gets_no_other(
    folder: Path, database: Database, clock: FakeClock
) -> None:
    write(folder, FIRST, "---\ncolour: red\n---\n")
    book = await opened(folder, database, clock)
    assert await book.refresh() == []


async def test_a_house_starts_although_it_has_become_stricter(
    folder: Path, database: Database, clock: FakeClock
) -> None:
    text = "---\ncolour: red\n---\nAn older Salver took this."
    write(folder, ADA, text)
    await database.write(lambda conn: store.keep(conn, ADA, text, clock.stamp()))
    book = await opened(folder, database, clock)
    with pytest.raises(Rejected, match="field 'colour'"):
        await book.get(ADA)
    write(folder, ADA, "---\n---\nCorrected.")
    assert (await book.get(ADA)).definition.instructions == "Corrected."


async def test_nobody_is_found_under_a_name_that_nobody_has(book: AgentBook) -> None:
    with pytest.raises(Missing, match=r"no agent 'eve'\. Agents: ada, salver\."):
        await book.get(AgentName("eve"))


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\0b", "Ada", "x" * 300, "ada\n"])
async def test_a_name_that_no_agent_can_have_leads_nowhere(
    book: AgentBook, folder: Path, name: str
) -> None:
    (folder.parent / "AGENT.md").write_text("Outside.")
    with pytest.raises(Missing):
        await book.get(AgentName(name))


@pytest.mark.parametrize(
    "name", ["", "Ada", "-ada", "ada-", "a da", "a/b", "..", ".ada", "ä", "a" * 41, "ada\n"]
)
async def test_a_name_that_no_folder_should_have_is_refused(book: AgentBook, name: str) -> None:
    with pytest.raises(Rejected, match="Use 1 to 40 lower-case letters, digits and dashes"):
        await book.new(name)


@pytest.mark.parametrize("name", ["a", "7", "no", "a-b", "a" * 40])
async def test_a_plain_name_is_accepted(book: AgentBook, folder: Path, name: str) -> None:
    assert (await book.new(name)).name == name
    assert (folder / name / "AGENT.md").is_file()


async def test_no_agent_is_made_over_another(book: AgentBook) -> None:
    with pytest.raises(Conflict, match="There is an agent 'ada' already"):
        await book.new(ADA, "Something else.")
    assert (await book.get(ADA)).definition.instructions == "Count."


async def test_a_new_agent_with_a_broken_text_is_not_made(book: AgentBook, folder: Path) -> None:
    with pytest.raises(Rejected):
        await book.new("bob", "---\ncolour: red\n---\n")
    assert not (folder / "bob").exists()


async def test_putting_a_text_replaces_the_file(book: AgentBook, folder: Path) -> None:
    standing = await book.put(ADA, "Count slowly.")
    assert standing.definition.instructions == "Count slowly."
    assert (folder / ADA / "AGENT.md").read_text() == "Count slowly."
    assert names(folder / ADA) == ["AGENT.md"]


async def test_a_broken_text_is_not_put(book: AgentBook, folder: Path) -> None:
    before = (folder / ADA / "AGENT.md").read_text()
    with pytest.raises(Rejected, match="'mounts': it reaches beyond the sandbox"):
        await book.put(ADA, "---\nmounts: [/etc]\n---\n")
    assert (folder / ADA / "AGENT.md").read_text() == before
    assert (await book.get(ADA)).problem == ""


async def test_a_removed_agent_is_moved_aside_with_all_it_has(
    book: AgentBook, folder: Path, database: Database, clock: FakeClock
) -> None:
    (folder / ADA / "work").mkdir()
    (folder / ADA / "work" / "memory.md").write_text("Remember.")
    aside = await book.remove(ADA)
    assert (aside / "work" / "memory.md").read_text() == "Remember."
    with pytest.raises(Missing):
        await book.get(ADA)
    again = await opened(folder, database, clock)
    assert [standing.name for standing in await again.refresh()] == [FIRST]


async def test_an_agent_whose_folder_vanished_can_be_removed(book: AgentBook, folder: Path) -> None:
    shutil.rmtree(folder / ADA)
    await book.remove(ADA)
    assert [standing.name for standing in await book.refresh()] == [FIRST]


async def test_the_name_of_a_removed_agent_is_free_again(
    book: AgentBook, folder: Path, database: Database, clock: FakeClock
) -> None:
    await book.remove(ADA)
    await book.new(ADA, "Another Ada.")
    clock.advance(1)
    await book.remove(ADA)
    await book.new(ADA, "A third Ada.")
    again = await opened(folder, database, clock)
    assert (await again.get(ADA)).definition.instructions == "A third Ada."


async def test_an_agent_is_told_the_house_s_base_and_has_the_skills_that_can_be_used(
    book: AgentBook, folder: Path
) -> None:
    alone = (await book.get(ADA)).told
    (folder / "BASE.md").write_text("Speak German.", encoding="utf-8")
    based = (await book.get(ADA)).told
    skill = folder.parent / "skills" / "letters"
    skill.mkdir(parents=True)
    text = "---\nname: letters\ndescription: How to write letters.\n---\n"
    (skill / "SKILL.md").write_text(text, encoding="utf-8")
    await book.put(ADA, "---\nname: Ada\nskills: [letters, sums, letters]\n---\nCount.")
    standing = await book.get(ADA)
    assert (standing.base, [it.name for it in standing.skills]) == ("Speak German.", ["letters"])
    [warning] = standing.warnings
    assert warning.startswith("There is no skill 'sums'. Put it in ")
    assert len({alone, based, standing.told}) == 3
    assert [it.told for it in await book.refresh() if it.name == ADA] == [standing.told]


async def test_a_base_that_cannot_be_used_is_a_warning_at_every_agent(
    book: AgentBook, folder: Path
) -> None:
    (folder / "BASE.md").write_bytes(b"\xff")
    warnings = [standing.warnings for standing in await book.refresh()]
    assert warnings == [("BASE.md is no text in UTF-8. Save it as one.",)] * 2
