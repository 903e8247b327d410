"""What an owner and an agent have from every vendor: a turn with all that belongs to it, and plain words."""

from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.crash.harness import House
from tests.fakes.model import MODEL
from tests.journeys import inside
from tests.journeys.conftest import Build
from tests.journeys.providers import KEY, Model, Provider, thinking
from tests.journeys.talk import Talk
from tests.journeys.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

CONTEXT = 6000
"""Characters of a conversation that a model takes; what Salver itself tells it is not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    name: str
    wire: str
    title: str

    def account(self, model: Model, key: str = KEY) -> dict[str, str]:
        keyless = {"base_url": model.url, "model": MODEL}
        return keyless if self.wire == "ollama" else {**keyless, "key": key}

    def provider(self, model: Model, *, fallback: str = "", key: str = KEY) -> Provider:
        instead = f"fallback: [{fallback}]\n" if fallback else ""
        return Provider(
            name=self.name,
            matter=f"provider: {self.name}\nmodel: {MODEL}\n{instead}",
            keep="!think",
            accounts={self.name: self.account(model, key)},
        )


OPENAI = Vendor(name="openai", wire="responses", title="OpenAI")
OLLAMA = Vendor(name="ollama", wire="ollama", title="Ollama")
VENDORS = [
    Vendor(name="openai-compatible", wire="chat", title="The model's server"),
    OPENAI,
    OLLAMA,
    Vendor(name="google", wire="google", title="Google"),
    Vendor(name="anthropic", wire="anthropic", title="Anthropic"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Model]]:
    """A scripted model for each vendor, by its name."""
    with ExitStack() as stack:
        yield {
            vendor.name: stack.enter_context(
                thinking(tmp_path_factory.mktemp(vendor.name), vendor.wire, context=CONTEXT)
            )
            for vendor in VENDORS
        }


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return request.param


@pytest.fixture
def home(build: Build, vendor: Vendor, models: dict[str, Model]) -> House:
    home = build(vendor.provider(models[vendor.name]))
    home.start()
    return home


@pytest.fixture
def talk(home: House) -> Talk:
    return Talk(home=home)


def test_a_turn_streams_uses_tools_at_once_and_is_remembered_by_another_sandbox(
    home: House, talk: Talk
) -> None:
    sent = talk.say("!say I look.\n!think hmm\n!shells echo one ;; echo two\n!slow 0.3\n!say Seen.")
    events = list(talk.follow(sent))
    tools = [one["text"] for one in events if one["event"] == "tool"]
    assert tools == ["shell echo one", "shell echo two"]
    assert len([one for one in events if one["event"] == "text"]) > 3
    assert talk.reply(sent).startswith("I look.")
    assert "Seen." in talk.reply(sent)
    assert home.kill_sandboxes()
    until(lambda: talk.look()["sandbox"] == "asleep")
    assert "I look." in talk.ask("!recall")


def test_a_follow_up_is_taken_up_and_a_stop_ends_a_turn_that_the_next_goes_on_from(
    talk: Talk,
) -> None:
    first = talk.running(talk.say("!shell sleep 0.7\n!say The first."))
    second = talk.say("!say And the second.")
    replies = f"{talk.reply(first)} {talk.reply(second)}"
    assert replies.index("The first.") < replies.index("And the second.")
    stopped = talk.say("!say The parrot is Pia.\n!shell sleep 1001", ends=("stopped",))
    talk.running(stopped)
    until(lambda: "sleep 1001" in inside.commands(talk.session))
    talk.stop()
    until(lambda: talk.state(stopped) == "stopped")
    assert "Pia" in talk.ask("!recall")


def test_an_overload_is_waited_out(talk: Talk) -> None:
    assert "At last." in talk.ask("!fail 529 1\n!say At last.")


def test_a_message_that_is_too_long_for_the_model_is_answered_all_the_same(talk: Talk) -> None:
    sent = talk.say("word " * CONTEXT)
    assert sent.token in talk.reply(sent)


def test_a_key_that_is_refused_is_said_with_what_to_do(
    build: Build, vendor: Vendor, models: dict[str, Model]
) -> None:
    if vendor is OLLAMA:
        pytest.skip("it wants no key")
    home = build(vendor.provider(models[vendor.name], key="sk-wrong"))
    home.start()
    talk = Talk(home=home)
    reason = talk.end(talk.say(ends=("failed",)))["reason"]
    assert "refused the key" in reason
    assert f"salver provider set {vendor.name}" in reason


def test_when_the_first_model_cannot_the_next_one_answers_and_says_why(
    build: Build, models: dict[str, Model]
) -> None:
    home = build(OPENAI.provider(models["openai"], fallback="ollama", key="sk-wrong"))
    home.accounts["ollama"] = OLLAMA.account(models["ollama"])
    home.start()
    talk = Talk(home=home)
    reply = talk.ask("!shell echo hi\n!say Here.")
    assert reply.startswith("*OpenAI refused the key; scripted on Ollama answers instead.*\n\n")
    assert "Here." in reply
    assert "refused the key" not in talk.ask("!recall")
