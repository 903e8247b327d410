from dataclasses import dataclass

import pytest

from salver_server.agents import parse
from salver_server.agents.definition import LONGEST_FILE
from salver_server.errors import Rejected

FULL = """\
---
name: Ada
provider: openai
model: gpt-9
fallback: [openrouter/anthropic/claude-9, ollama]
runtime: docker
workspace: per-session
web: none
skills: [letters]
limits:
  memory_mb: 512
  rounds: 7
  seconds: 12.5
budget:
  usd_per_day: 2
  usd_per_turn: 0.25
  tokens_per_day: 100000
---
You are Ada.

---
That line is a rule, not a fence.
"""


def test_every_field_is_read() -> None:
    found = parse(FULL)
    assert (found.name, found.provider, found.model) == ("Ada", "openai", "gpt-9")
    assert found.fallback == ["openrouter/anthropic/claude-9", "ollama"]
    assert (found.runtime, found.workspace, found.web) == ("docker", "per-session", "none")
    assert found.skills == ["letters"]
    assert (found.limits.memory_mb, found.limits.rounds, found.limits.seconds) == (512, 7, 12.5)
    assert found.limits.processes == 256
    assert (found.budget.usd_per_day, found.budget.usd_per_turn) == (2, 0.25)
    assert (found.budget.usd_per_session, found.budget.tokens_per_day) == (None, 100_000)
    assert found.instructions == "You are Ada.\n\n---\nThat line is a rule, not a fence."


def test_sites_are_kept_in_their_one_spelling() -> None:
    found = parse("---\nweb: public\nsites: [EN.Example.org, '*.bücher.example:443']\n---\n")
    assert (found.web, found.sites) == ("public", ("en.example.org", "*.xn--bcher-kva.example"))


@dataclass(frozen=True, kw_only=True)
class Plain:
    id: str
    text: str
    instructions: str
    name: str = "Salver"


@pytest.mark.parametrize(
    "case",
    [
        Plain(id="empty", text="", instructions=""),
        Plain(id="no-front-matter", text="Just talk.\n", instructions="Just talk."),
        Plain(id="empty-front-matter", text="---\n---\nTalk.", instructions="Talk."),
        Plain(id="no-instructions", text="---\nname: Ada\n---", instructions="", name="Ada"),
        Plain(id="byte-order-mark", text="\ufeff---\nname: Ada\n---\nTalk.", instructions="Talk.", name="Ada"),
        Plain(id="windows", text="---\r\nname: Ada\r\n---\r\nTalk.\r\n", instructions="Talk.", name="Ada"),
        Plain(id="blanks-at-the-fence", text="--- \nname: Ada\n---\t\nTalk.", instructions="Talk.", name="Ada"),
        Plain(id="no-latin-letters", text="---\nname: Ада\n---\n話して", instructions="話して", name="Ада"),
    ],
    ids=lambda case: case.id,
)  # fmt: skip
def test_what_is_not_said_has_its_default(case: Plain) -> None:
    found = parse(case.text)
    assert (found.name, found.instructions) == (case.name, case.instructions)
    assert (found.provider, found.workspace, found.web) == ("", "shared", "listed")


@dataclass(frozen=True, kw_only=True)
class Case:
    id: str
    matter: str
    says: str


REFUSED = [
    Case(id="not-yaml", matter="name: [Ada", says=r"AGENT\.md, line 2: .*Correct the lines"),
    Case(id="tab", matter="limits:\n\trounds: 3", says=r"line 3: .*Correct the lines"),
    Case(id="no-fields", matter="just words", says="there must be lines like 'name: value'"),
    Case(id="list", matter="- name", says="there must be lines like 'name: value'"),
    Case(id="no-such-day", matter="name: 2024-13-45", says=r"AGENT\.md, .*month must be in 1"),
    Case(id="tag", matter="name: !!python/name:os.system", says="could not determine a construct"),
    Case(id="unknown", matter="colour: red", says=r"field 'colour': .*Known fields: name, pro"),
    Case(id="number", matter="1: one", says=r"field '1'.*Known fields"),
    Case(id="bad-type", matter="name: [Ada]", says="field 'name': Input should be a valid string"),
    Case(id="yes-is-no-name", matter="name: yes", says="field 'name': Input should be a valid"),
    Case(id="empty-name", matter="name: ''", says="field 'name': .*at least 1 character"),
    Case(id="inner", matter="limits: {rounds: 0}", says=r"field 'limits\.rounds': .*greater than"),
    Case(id="inner-unknown", matter="limits: {time: 1}", says=r"field 'limits\.time': Extra"),
    Case(
        id="no-budget", matter="budget: {usd_per_day: 0}", says=r"'budget\.usd_per_day': .*greater"
    ),
    Case(
        id="endless", matter="budget: {usd_per_turn: .nan}", says=r"'budget\.usd_per_turn': Input"
    ),
    Case(id="no-such-budget", matter="budget: {usd: 1}", says=r"field 'budget\.usd': Extra"),
    Case(id="instructions", matter="instructions: talk", says="the text below the second '---'"),
    Case(id="mounts", matter="mounts: [/etc]", says="'mounts': it reaches beyond.*Remove it"),
    Case(id="grants", matter="grants: [mail]", says="'grants': it reaches beyond.*Remove it"),
    Case(id="no-sandbox", matter="runtime: none", says="'none' isolates nothing.*Remove it"),
    Case(id="no-such-level", matter="web: all", says="field 'web': Input should be 'none', 'list"),
    Case(
        id="site", matter="sites: [localhost]", says=r"'sites\.0': 'localhost' cannot be listed: it"
    ),
    Case(
        id="site-address", matter="sites: [a.org, '10.1']", says=r"'sites\.1': .*it is an address"
    ),
    Case(
        id="site-url", matter="sites: ['https://a.org']", says=r"a host alone.*Write it like en\."
    ),
    Case(id="site-wide", matter="sites: ['*.org']", says=r"'\*\.org' cannot be listed"),
    Case(id="site-port", matter="sites: ['a.org:80']", says=r"'a\.org:80' cannot be listed"),
    Case(
        id="site-words", matter="sites: a.org", says="field 'sites': Input should be a valid tuple"
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_what_can_not_be_used_is_refused_with_its_place_and_the_way_out(case: Case) -> None:
    with pytest.raises(Rejected, match=case.says):
        parse(f"---\n{case.matter}\n---\nTalk.")


def test_a_fence_that_is_not_closed_is_named() -> None:
    with pytest.raises(Rejected, match="no second '---' ends the front matter"):
        parse("---\nname: Ada\n")


def test_a_file_that_is_too_long_is_refused() -> None:
    with pytest.raises(Rejected, match=f"at most {LONGEST_FILE} are read"):
        parse("x" * (LONGEST_FILE + 1))


def test_half_a_character_is_refused() -> None:
    with pytest.raises(Rejected, match="half of a character"):
        parse("Talk.\ud83d")


@pytest.mark.parametrize("name", ["../letters", "Letters", "", "-", "x" * 65, "a/b"])
def test_a_skill_that_is_named_by_no_name_is_refused(name: str) -> None:
    with pytest.raises(Rejected, match=r"AGENT\.md, field 'skills\.0'"):
        parse(f"---\nskills: ['{name}']\n---\n")
