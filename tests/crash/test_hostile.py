"""A hostile sandbox harms nobody but itself: the server lives on, the host's files stay, others are answered.

Every attack is made from inside a real sandbox on a real server. Meanwhile an innocent session of
another agent is asked all the time and must be answered promptly.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from salver_server.sessions.folders import MOST_ASIDE, set_aside
from tests.crash.harness import House, house
from tests.crash.hostile_siege import SECRET, Outcome, Siege, asked_meanwhile

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

ASSAULT = 1.0
"""Seconds for which a flood is endured."""
MOST_MEMORY = 400 * 2**20
"""Bytes that the server may take after everything that was thrown at it; it begins with some 80 MB."""
LEAN = 200 * 2**20
"""Bytes that the server may take at most for one attack."""
MOST_LOG = 2**20
"""Bytes that all the attacks together may make it say."""


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Generator[Siege]:
    """One house for all attacks that need no settings of their own."""
    with house(tmp_path_factory.mktemp("siege"), SALVER_MOST_SANDBOXES="16") as home:
        # With a gateway, which an agent without a model would not have.
        home.program = (sys.executable, "-m", "tests.crash.hostile_server", "serve")
        home.accounts = {"demo": {}}
        yield begun(home)


@pytest.fixture
def siege(besieged: Siege) -> Generator[Siege]:
    try:
        yield besieged
        besieged.unharmed()
    finally:
        besieged.disarm()


def begun(home: House) -> Siege:
    """A server that runs, an innocent session that is warm, and files of the host that are guarded."""
    home.start()
    siege = Siege(home)
    siege.agent("hostile")
    siege.agent("innocent")
    siege.meet_the_innocent()
    siege.guard(
        home.home / "of the house",
        home.home.parent / "of somebody",
        home.home / "agents" / "innocent" / "AGENT.md",
    )
    return siege


# outbound.db becomes something that no runner of ours has written


@dataclass(frozen=True, kw_only=True)
class Case:
    """An attack after which the file is put aside, and the message answered by the next runner."""

    attack: str
    words: Sequence[str] = ()
    says: str
    """Of the log, at the attacked session."""
    agent: str = "hostile"

    @property
    def id(self) -> str:
        return "-".join([self.attack, *(Path(word).name for word in self.words)])


REPLACED = [
    Case(attack="fifo", says="no regular file"),
    Case(attack="link", words=["/etc/passwd"], says="no regular file"),
    Case(attack="link", words=["{home}/salver.db"], says="no regular file"),
    Case(attack="link", words=["{home}/sessions/{innocent}/out/outbound.db"], says="no regular file"),
    Case(attack="hard-link", says="2 names"),
    Case(attack="folder", says="no regular file"),
    Case(attack="gone", says="is gone"),
    Case(attack="other-epoch", says="another file than"),
    Case(attack="other-file", says="replaced by another file"),
    Case(attack="future-owner", says="owner of the future"),
    Case(attack="garbage", says="not a database"),
    Case(attack="overwritten", says="malformed"),
    Case(attack="empty", says="is gone"),
    Case(attack="sparse", agent="roomy", says="5368709120 bytes"),
    Case(attack="swapped", says="outbound.db"),
    Case(attack="rows-vanish", says="it ends at row 0"),
    Case(attack="journal-fifo", says="outbound.db-journal is no regular file"),
    Case(attack="journal-link", words=["/etc/passwd"], says="outbound.db-journal is no regular file"),
    Case(attack="journal-folder", says="outbound.db-journal is no regular file"),
    Case(attack="closed-journal", says="journal cannot be rolled back"),
    Case(attack="wal-beside", says="outbound.db-wal"),
    Case(attack="shm-beside", says="outbound.db-shm"),
    Case(attack="wal-header-and-death", says="cannot be read"),
    Case(attack="trigger", says="tables are not ours"),
    Case(attack="endless-view", says="tables are not ours"),
    Case(attack="generated-column", says="tables are not ours"),
    Case(attack="other-columns", says="tables are not ours"),
    Case(attack="loud-schema", says="malformed database schema (?[31mCLICK HERExxx"),
    Case(attack="deep-folders", says="not a database"),
    Case(attack="large-value", says="too big"),
    Case(attack="bomb", words=["deep"], says="holds no JSON"),
    Case(attack="bomb", words=["large-number"], says="holds no JSON"),
    Case(attack="bomb", words=["wide"], says="pieces"),
    Case(attack="bomb", words=["half-a-character"], says="no text"),
    Case(attack="bomb", words=["no-object"], says="holds no JSON object"),
    Case(attack="typeless", words=["turn", "'abc'"], says="other types"),
    Case(attack="typeless", words=["turn", "9e999"], says="other types"),
    Case(attack="typeless", words=["body", "NULL"], says="other types"),
    Case(attack="typeless", words=["kind", "x'00ff'"], says="other types"),
]  # fmt: skip


@pytest.fixture(scope="module")
def replaced(besieged: Siege) -> dict[str, Outcome]:
    """What came of each, some at a time: one by one they would take a minute."""
    besieged.agent("roomy", file=6000)
    return besieged.outcomes(
        {
            case.id: lambda case=case: besieged.attack(
                case.attack, *map(besieged.named, case.words), agent=case.agent, held=True
            )
            for case in REPLACED
        }
    )


@pytest.mark.parametrize("case", REPLACED, ids=lambda case: case.id)
def test_a_file_that_cannot_be_trusted_is_put_aside_and_its_message_answered(
    replaced: dict[str, Outcome], case: Case
) -> None:
    found = replaced[case.id]
    assert (found.state, found.attempts) == ("delivered", 2)
    assert "done before" in found.reply
    assert case.says in found.log
    assert found.asides == 1


def test_what_was_put_aside_is_taken_away_however_deep_it_lies(tmp_path: Path) -> None:
    try:
        for number in range(MOST_ASIDE + 2):
            deep = tmp_path / "out"
            for _ in range(3000):
                deep.mkdir()
                # By handle: no path is as long.
                os.chdir(deep)
                deep = Path("deeper")
            os.chdir(tmp_path)
            set_aside(tmp_path / "out")
            assert len(list(tmp_path.iterdir())) == min(number + 1, MOST_ASIDE)
    finally:
        os.chdir(Path(__file__).parent)
        subprocess.run(["rm", "-rf", tmp_path], check=True)


# Rows that were never true


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows behind the honest ones: seq or null for the next, turn, kind, message, body."""

    id: str
    rows: Sequence[Sequence[Any]]
    says: str = ""
    """Why they are not believed; empty where they only concern the attacker."""


ROWS = [
    Rows(id="unknown-kind", rows=[[None, 1, "order", None, {}]], says="unknown kind"),
    Rows(id="ack-of-the-future", rows=[[None, 1, "ack", 7, {"outcome": "answered", "reason": ""}]], says="7 was never handed over"),
    Rows(id="ack-of-nobody", rows=[[None, 1, "ack", None, {"outcome": "answered", "reason": ""}]], says="names no message"),
    Rows(id="claim-below-zero", rows=[[None, 1, "claim", -1, {}]], says="-1 was never handed over"),
    Rows(id="reply-to-others", rows=[[None, 1, "reply", None, {"text": "x", "answers": [99]}]], says="99 was never handed over"),
    Rows(id="reply-beyond-numbers", rows=[[None, 1, "reply", None, {"text": "x", "answers": [10**30]}]], says="was never handed over"),
    Rows(id="gap", rows=[[100, 1, "tool", None, {}]], says="row 3 is missing"),
    Rows(id="last-number-of-all", rows=[[2**63 - 1, 1, "tool", None, {}]], says="row 3 is missing"),
    Rows(id="before-the-first", rows=[[-5, 1, "tool", None, {}]]),
    Rows(id="turn-below-zero", rows=[[None, -7, "claim", 1, {}]]),
    Rows(id="last-turn-of-all", rows=[[None, 2**63 - 1, "tool", None, {}]]),
    Rows(id="nothing-in-a-text", rows=[[None, 1, "send", None, {"text": "a\0b"}]]),
    Rows(id="infinity", rows=[[None, 1, "continuation", None, '{"provider":"x","messages":[1e999,NaN]}']]),
    Rows(id="nearly-too-deep", rows=[[None, 1, "continuation", None, '{"provider":"x","messages":' + "[" * 950 + "]" * 950 + "}"]]),
]  # fmt: skip


@pytest.fixture(scope="module")
def untrue(besieged: Siege) -> dict[str, Outcome]:
    return besieged.outcomes(
        {
            case.id: lambda case=case: besieged.attack("row", json.dumps(case.rows), held=True)
            for case in ROWS
        }
    )


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.id)
def test_a_row_that_is_not_true_is_not_believed(untrue: dict[str, Outcome], case: Rows) -> None:
    found = untrue[case.id]
    assert found.state == "delivered"
    assert case.says in found.log
    assert found.asides == bool(case.says)


def test_of_its_own_message_a_runner_may_say_what_it_likes(siege: Siege) -> None:
    rows = [[None, 1, "ack", 1, {"outcome": "failed", "reason": "I do not want to."}]]
    with asked_meanwhile(siege):
        attack = siege.attack("row", json.dumps(rows))
        found = siege.end_of(attack)
    assert (found["state"], found["reason"]) == ("failed", "I do not want to.")


def test_a_text_of_five_megabytes_is_cut_and_delivered(siege: Siege) -> None:
    with asked_meanwhile(siege):
        attack = siege.attack("long-text")
        assert siege.end_of(attack)["state"] == "delivered"
    sent = [it["text"] for it in siege.session(attack)["deliveries"] if it["kind"] == "send"]
    assert [(len(text), text[-4:]) for text in sent] == [(1_000_004, " […]")]


def test_only_plain_files_of_its_own_are_taken_and_whatever_else_holds_nobody_up(
    siege: Siege,
) -> None:
    """Pipes, links, folders, files that grow, places that are paths or are swapped: sent by thousands."""
    with asked_meanwhile(siege):
        attack = siege.attack("sent-files", siege.named("{home}/of the house"))
        found = siege.end_of(attack)
    assert (found["state"], found["attempts"]) == ("delivered", 1)
    sent = [it for it in siege.session(attack)["deliveries"] if it["kind"] == "send"]
    assert [file["name"] for it in sent for file in it["files"]] == ["plain"]
    assert all("could not be sent" in it["text"] for it in sent[:-1])
    taken = [path for path in (siege.home.home / "outgoing").rglob("*") if path.is_file()]
    assert [path.read_text(encoding="utf-8") for path in taken] == ["plain"]
    assert siege.session(attack)["trouble"] == ""


# The host's own files


@pytest.mark.parametrize("victim", ["{home}/of the house", "{home}/../of somebody"])
@pytest.mark.parametrize("attack", ["forged-journal", "forged-live-journal"])
def test_a_forged_journal_deletes_no_file_of_the_host(
    siege: Siege, attack: str, victim: str
) -> None:
    with asked_meanwhile(siege):
        forged = siege.attack(attack, siege.named(victim))
        assert siege.end_of(forged)["state"] == "delivered"


def test_links_with_telling_names_are_never_followed(siege: Siege) -> None:
    with asked_meanwhile(siege):
        attack = siege.attack("plant", *map(str, siege.victims))
        assert siege.end_of(attack)["state"] == "delivered"
        siege.end_sandbox_of(attack)
        after = siege.say("!shell cat ~/* ~/.failpoint ./* 2>/dev/null", session=attack["session"])
        assert siege.end_of(after)["state"] == "delivered"
    assert SECRET not in siege.reply(after)


def test_nothing_outside_can_be_reached(siege: Siege) -> None:
    there = ["salver.db", "run/lock", "logs", "of the house", "agents/innocent/AGENT.md"]
    there += [f"sessions/{siege.innocent}/{name}" for name in ("in/inbound.db", "out/outbound.db")]
    with asked_meanwhile(siege):
        paths = [siege.named(path) for path in (*(f"{{home}}/{name}" for name in there), "{api}", "{line}")]  # fmt: skip
        attack = siege.attack("trespass", *paths)
        assert siege.end_of(attack)["state"] == "delivered"
    assert "worked: []" in siege.reply(attack)


def test_a_sandbox_cannot_lock_the_next_one_out(siege: Siege) -> None:
    with asked_meanwhile(siege):
        attack = siege.attack("lock-out", agent="locked-out")
        assert siege.end_of(attack)["state"] == "delivered"
        siege.end_sandbox_of(attack)
        after = siege.say("!say back again", session=attack["session"])
        assert siege.end_of(after)["state"] == "delivered"


# Floods


FLOODS = {
    "chatter": ["flood-line rings", "flood-line greetings", "flood-line live"],
    "costly frames": ["flood-line long-live", "flood-line lists", "flood-line deep"],
    "broken frames": ["flood-line too-long", "flood-line garbage", "flood-line half", "flood-line numbers"],
    "connections": ["flood-line nothing", "many-connections"],
    "strange calls": ["flood-gateway strangers", "flood-gateway connections"],
    "large calls": ["flood-gateway bodies", "flood-gateway endless", "flood-gateway heads"],
    "costly calls": ["flood-gateway objects", "flood-gateway objects"],
    "files": ["storm", "hoard-watches"],
    "small rows": ["rows-without-end small"],
    "large rows": ["rows-without-end large"],
    "costly rows": ["rows-without-end costly"],
    "many rows": ["many-rows tool", "wide-rows"],
    "processes": ["fork-bomb-that-burns"],
}  # fmt: skip


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_drowns_only_its_own_session(siege: Siege, flood: str) -> None:
    with asked_meanwhile(siege) as innocents:
        siege.until_made([siege.attack(*attack.split()) for attack in FLOODS[flood]])
        time.sleep(ASSAULT)
        # One that must be started while it lasts.
        cold = siege.say("!say well", agent="innocent")
        assert siege.end_of(cold)["state"] == "delivered"
    assert len(innocents.waits) >= 3


def test_a_listener_that_reads_nothing_does_not_fill_the_memory(siege: Siege) -> None:
    with siege.lean(LEAN), asked_meanwhile(siege):
        attack = siege.attack("flood-line", "long-live", after="!slow 60", held=True)
        with siege.follower(attack):
            siege.let_go(attack)
            siege.until_made([attack])
            time.sleep(ASSAULT * 2)
            assert siege.state(attack)["state"] == "running"


def test_a_long_memory_does_not_fill_the_memory(siege: Siege) -> None:
    """What a turn keeps is handed to the next file's runner, as far as it is bearable."""
    hoarder = siege.agent("hoarder", memory=1000, file=2000, disk=2000)
    with siege.lean(LEAN), asked_meanwhile(siege):
        attack = siege.attack("long-memory", agent=hoarder)
        assert siege.end_of(attack)["state"] == "delivered"
        next_file = siege.attack("garbage", agent=hoarder, session=attack["session"])
        assert siege.end_of(next_file)["state"] == "delivered"


def test_long_texts_do_not_fill_the_memory(siege: Siege) -> None:
    hoarder = siege.agent("hoarder", memory=1000, file=2000, disk=2000)
    with siege.lean(LEAN), asked_meanwhile(siege):
        attack = siege.attack("many-long-texts", agent=hoarder, held=True)
        with siege.follower(attack):
            siege.let_go(attack)
            assert siege.end_of(attack)["state"] == "delivered"
        assert siege.session(attack)["deliveries"]


# Limits


FILLED = ["/tmp", "/dev/shm", "/run", "/workspace", "/salver/out", "/salver/home"]


@pytest.fixture(scope="module")
def filled(besieged: Siege) -> dict[str, Outcome]:
    def fill(place: str) -> dict[str, Any]:
        agent = besieged.agent(f"greedy{place.replace('/', '-')}", file=30, disk=60, tmp=16)
        return besieged.attack("fill", place, agent=agent, held=True)

    return besieged.outcomes({place: lambda place=place: fill(place) for place in FILLED})


@pytest.mark.parametrize("place", FILLED)
def test_whoever_fills_a_place_up_is_stopped(filled: dict[str, Outcome], place: str) -> None:
    found = filled[place]
    if place in ("/tmp", "/dev/shm", "/run"):
        assert "stopped: No space left on device" in found.reply
    else:
        assert found.attempts > 1
        assert "cause=disk" in found.log


@pytest.mark.parametrize("attack", ["fill-with-nothing", "fork-bomb", "memory-hog", "memory-hog-of-many"])  # fmt: skip
def test_whoever_takes_too_much_is_stopped(siege: Siege, attack: str) -> None:
    name = siege.agent(f"greedy-{attack}", memory=128, processes=32, disk=60)
    with asked_meanwhile(siege):
        assert siege.end_of(siege.attack(attack, agent=name))["state"] == "delivered"


# Runners that die, and messages that kill them


def test_a_poison_message_fails_alone(siege: Siege) -> None:
    with asked_meanwhile(siege):
        first = siege.say("!slow 0.3\n!say before")
        session = first["session"]
        poison = siege.say("!crash", session=session)
        behind = siege.say("!say behind", session=session)
        ends = [siege.end_of(message) for message in (first, poison, behind)]
    assert [end["state"] for end in ends] == ["delivered", "failed", "delivered"]
    reason = ends[1]["reason"]
    assert "The sandbox ended 3 times while it worked on this message" in reason
    assert siege.reply(poison) == reason
    after = siege.say("!say after", session=session)
    assert siege.end_of(after)["state"] == "delivered"
    assert reason in siege.told_the_agent(session)


def test_a_runner_that_always_dies_is_given_up_with_a_reason(siege: Siege) -> None:
    with asked_meanwhile(siege):
        orders = ["!crash", "!shell kill -9 $PPID", "!shell kill -9 1; kill -9 -1"]
        ends = [siege.end_of(message) for message in [siege.say(order) for order in orders]]
    for end in ends:
        assert (end["state"], end["attempts"]) == ("failed", 3)
        assert "The sandbox ended 3 times" in end["reason"]


def test_an_attack_that_is_made_again_and_again_fails_with_its_reason(siege: Siege) -> None:
    with asked_meanwhile(siege):
        # In one step: a file that is gone for a moment would be another reason.
        message = siege.say("!shell cd /salver/out && mkfifo pipe && mv pipe outbound.db\n!slow 60")
        found = siege.end_of(message)
    assert (found["state"], found["attempts"]) == ("failed", 3)
    assert "could not be trusted: outbound.db is no regular file" in found["reason"]
    assert siege.reply(message) == found["reason"]


# Restarts


LEFT = {
    "forged-live-journal": ["{home}/of the house"],
    "journal-for-ever": [],
    "wal-header": [],
    "typeless": ["turn", "'abc'"],
}
"""Attacks that are made while there is no server."""


@pytest.mark.parametrize("lives", [True, False], ids=["adopted", "dead"])
def test_what_was_left_for_the_next_server_harms_it_as_little(
    tmp_path: Path, *, lives: bool
) -> None:
    with house(tmp_path, SALVER_STALL="4") as home:
        siege = begun(home)
        attacks = [
            siege.attack(name, *map(siege.named, words), held=True) for name, words in LEFT.items()
        ]
        for attack in attacks:
            siege.until(attack, "running")
        home.kill()
        for attack in attacks:
            siege.let_go(attack)
        siege.until_made(attacks)
        if not lives:
            home.kill_sandboxes()
        home.start()
        with asked_meanwhile(siege):
            ends = [siege.end_of(attack) for attack in attacks]
        assert {end["state"] for end in ends} == {"delivered"}
        siege.unharmed()


def test_a_forged_label_gains_nothing(tmp_path: Path) -> None:
    """The init of a sandbox carries its label in its own memory, and its own user may write to that."""
    with house(tmp_path) as home:
        siege = begun(home)
        victim = tmp_path / "v"
        victim.write_bytes(SECRET.encode() * 1_000_000)
        siege.guard(victim)
        own = siege.say("!say hello")
        assert siege.end_of(own)["state"] == "delivered"
        before = siege.mark_of(siege.innocent)
        for name in (own["session"], siege.innocent):
            forged = siege.attack("forged-label", name, "1", str(victim), session=own["session"])
            assert siege.end_of(forged)["state"] == "delivered"
            assert siege.reply(forged).rstrip().endswith("done")
            home.kill()
            home.start()
            # Whoever does something is looked at every second, and its log is kept short.
            busy = siege.say("!shell timeout 1.2 yes >/dev/null", session=own["session"])
            with asked_meanwhile(siege):
                siege.end_of(busy)
            siege.unharmed()
            assert siege.mark_of(siege.innocent) == before


# What takes long


def test_whoever_holds_everything_up_holds_up_only_himself(tmp_path: Path) -> None:
    """Locks, leases, frozen runners, readers that hang and healing without end, all at once."""
    with house(tmp_path, SALVER_STALL="4", SALVER_MOST_SANDBOXES="16") as home:
        siege = begun(home)
        with asked_meanwhile(siege) as innocents:
            deaf = siege.attack("freeze-and-chatter")
            stuck = [
                siege.attack("journal-to-a-pipe"),
                siege.attack("freeze"),
                siege.attack("exclusive-lock"),
                siege.attack("frozen-lock"),
                siege.attack("frozen-journal", siege.named("{home}/of the house")),
                back := siege.attack("rows-go-back", held=True),
            ]
            siege.until(back, "running")  # from which on its first rows have been read
            siege.let_go(back)
            siege.agent("roomy", file=6000)
            slow = [siege.attack("huge-schema", agent="roomy") for _ in range(3)]
            holding = [siege.attack("read-transaction"), siege.attack("leased-inbound")]
            for attack in holding:
                assert siege.end_of(attack)["state"] == "delivered"
                stuck.append(siege.say("!say after", session=attack["session"]))
            siege.until_made([deaf])
            siege.stop(deaf)
            assert siege.end_of(deaf)["state"] == "stopped"
            for message in (*stuck, *slow):
                assert siege.end_of(message)["state"] == "delivered", message
            assert all(siege.state(message)["attempts"] > 1 for message in slow)
        assert len(innocents.waits) > 20
        said = home.log()
        for words in (
            "kept inbound.db locked",
            "obeyed no order",
            "rolling its journal back took too long",
            "outbound.db is locked, for",
            "outbound.db has a journal beside it, for",
        ):
            assert words in said
        siege.unharmed()


def test_a_runner_that_does_not_leave_makes_room_all_the_same(tmp_path: Path) -> None:
    with house(tmp_path, SALVER_STALL="4", SALVER_MOST_SANDBOXES="1") as home:
        home.start()
        siege = Siege(home)
        frozen = siege.attack("freeze-when-idle")
        assert siege.end_of(frozen)["state"] == "delivered"
        siege.until_there("frozen")
        siege.agent("innocent")
        innocent = siege.say("!say well", agent="innocent")
        assert siege.end_of(innocent, within=10)["state"] == "delivered"
        assert "did not leave when it was asked to" in home.log()


# After all that


def test_the_server_has_kept_its_shape(siege: Siege) -> None:
    assert siege.home.kills == 0
    assert siege.memory() < MOST_MEMORY
    said = siege.home.log()
    assert len(said) < MOST_LOG, said[:4000]
    assert "Traceback" not in said
    assert SECRET not in said
    found = subprocess.run(
        ["grep", "-rlaF", SECRET, siege.home.home], capture_output=True, text=True, check=False
    )
    assert set(found.stdout.splitlines()) == {str(siege.home.home / "of the house")}
