"""What reaches beyond the sandbox counts only if a person agreed to exactly that."""

from pathlib import Path

import pytest

from salver_server.agents import AgentBook, consent, parse, store
from salver_server.errors import Conflict, Missing
from salver_server.ids import AgentName
from salver_server.store import Database
from tests.fakes.clock import FakeClock
from tests.server.agents.test_book import opened

ADA = AgentName("ada")
ASKS = "---\nweb: listed\nsites: [b.example.org, a.example.org]\n---\nRead."
WHAT = '{"web":"listed","sites":["a.example.org","b.example.org"]}'


@pytest.fixture
async def book(tmp_path: Path, database: Database, clock: FakeClock) -> AgentBook:
    """A book with Ada in it, who asks for two sites."""
    book = await opened(tmp_path, database, clock)
    await book.new(ADA, ASKS)
    return book


@pytest.mark.parametrize(
    ("matter", "what"),
    [
        ("", ""),
        ("web: none", ""),
        ("web: listed", ""),
        ("sites: []", ""),
        ("web: none\nsites: [a.org]", ""),
        ("sites: [a.org]", '{"web":"listed","sites":["a.org"]}'),
        ("sites: ['B.org', a.org, b.org]", '{"web":"listed","sites":["a.org","b.org"]}'),
        ("web: public", '{"web":"public","sites":[]}'),
    ],
)
def test_what_is_asked_for_has_one_spelling(matter: str, what: str) -> None:
    definition = parse(f"---\n{matter}\n---\n")
    assert consent.asks(definition) == what
    assert bool(list(consent.told(definition))) == bool(what)
    assert bool(consent.waits("ada", definition, "")) == bool(what)
    assert consent.waits("ada", definition, what) == ""


def test_a_person_reads_all_of_it() -> None:
    definition = parse("---\nweb: public\nsites: ['*.b.org', a.org]\n---\n")
    assert list(consent.told(definition)) == [
        "web: public",
        "  It may read any page of the public internet.",
        "  It may exchange anything with *.b.org by https.",
        "  It may exchange anything with a.org by https.",
    ]


async def test_an_agent_waits_until_a_person_agrees(book: AgentBook) -> None:
    standing = await book.get(ADA)
    assert standing.waits == "web: waits for your consent: `salver agents allow ada`"
    assert standing.problem == ""
    assert (await book.allow(ADA, WHAT)).waits == ""
    assert (await book.get(ADA)).waits == ""
    assert (await book.disallow(ADA)).waits != ""
    assert (await book.get(ADA)).waits != ""


async def test_a_consent_outlives_the_server(
    book: AgentBook, tmp_path: Path, database: Database, clock: FakeClock
) -> None:
    await book.allow(ADA, WHAT)
    assert (await (await opened(tmp_path, database, clock)).get(ADA)).waits == ""
    await book.disallow(ADA)
    assert (await (await opened(tmp_path, database, clock)).get(ADA)).waits != ""


async def test_whatever_else_is_asked_for_needs_a_consent_of_its_own(book: AgentBook) -> None:
    await book.allow(ADA, WHAT)
    for other in (ASKS.replace("a.example", "c.example"), ASKS.replace("listed", "public")):
        assert (await book.put(ADA, other)).waits != ""
    assert (await book.put(ADA, ASKS.replace("Read.", "Write."))).waits == ""


async def test_only_what_was_shown_can_be_agreed_to(book: AgentBook) -> None:
    for what in ("", '{"web":"public","sites":[]}', WHAT + " "):
        with pytest.raises(Conflict, match="does not ask for that"):
            await book.allow(ADA, what)
    with pytest.raises(Missing):
        await book.allow(AgentName("nobody"), WHAT)


async def test_a_successor_of_the_same_name_inherits_nothing(
    book: AgentBook, tmp_path: Path, database: Database, clock: FakeClock
) -> None:
    await book.allow(ADA, WHAT)
    await book.remove(ADA)
    assert (await book.new(ADA, ASKS)).waits != ""
    assert (await (await opened(tmp_path, database, clock)).get(ADA)).waits != ""


async def test_a_consent_that_comes_too_late_is_kept_for_nobody(
    book: AgentBook, database: Database
) -> None:
    await book.remove(ADA)
    await database.write(lambda conn: store.agree(conn, ADA, WHAT, FakeClock().stamp()))
    await book.new(ADA, ASKS)
    (row,) = [row for row in await database.read(store.agents) if row.name == ADA]
    assert row.agreed == ""
