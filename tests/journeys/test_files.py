"""A file goes in, the agent works with it, another comes back: the same bytes, whatever dies in between."""

import os

import pytest

from tests.crash.harness import FILE, House
from tests.journeys.conftest import Build
from tests.journeys.providers import DEMO, Model
from tests.journeys.talk import Talk

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

BACK = "!shell cp /salver/in/files/*/'a photo.bin' back.bin\n!sendfile back.bin"


def sent(home: House, talk: Talk) -> list[bytes]:
    """What the person was sent, in order."""
    deliveries = talk.look()["deliveries"]
    return [home.fetch(file["id"]) for one in deliveries for file in one["files"]]


def test_what_goes_in_comes_back_as_it_was(house: House) -> None:
    talk, data = Talk(home=house), os.urandom(3_000_000)
    message = talk.say(BACK, files=(house.upload("a photo.bin", data),))
    assert "Sent back.bin, 3000000 bytes." in talk.reply(message)
    assert sent(house, talk) == [data]


@pytest.mark.parametrize("when", ["before it is read", "before it is sent", "after it is sent"])
def test_the_server_may_die_with_a_file_on_its_way(build: Build, when: str) -> None:
    home = build(DEMO)
    home.start()
    talk = Talk(home=home)
    upload = home.upload("a photo.bin")
    slow = "!slow 2\n"
    order = {
        "before it is read": slow + BACK,
        "before it is sent": BACK.replace("\n", "\n" + slow),
        "after it is sent": BACK + "\n" + slow,
    }[when]
    message = talk.running(talk.say(order, files=(upload,)))
    home.kill()
    home.start()
    talk.reply(message)
    home.verify()
    assert sent(home, talk) == [FILE]


def test_a_file_is_sent_while_the_turn_goes_on(house: House) -> None:
    talk = Talk(home=house)
    message = talk.say("!shell echo hello > hello.txt\n!sendfile hello.txt\n!slow 1")
    events = list(talk.follow(message))
    kinds = [event["event"] for event in events]
    sending = kinds.index("delivery")
    assert [file["name"] for file in events[sending]["delivery"]["files"]] == ["hello.txt"]
    assert "text" in kinds[sending:]


def test_a_model_is_told_of_a_file_reads_it_and_sends_one(build: Build, model: Model) -> None:
    home = build(model.provider)
    home.start()
    talk = Talk(home=home)
    message = talk.say("!say seen", files=(home.upload("list.txt", b"brown bread\n"),))
    talk.reply(message)
    path = f"/salver/in/files/{message.id}/list.txt"
    (asked, *_) = model.requests("!say seen")
    assert f"[file list.txt, text/plain, 12 bytes: {path}]" in asked[-1]["content"]
    talk.ask(
        f'!call read {{"path": "{path}"}}\n'
        f'!call send_file {{"path": "{path}", "text": "as it was"}}\n'
        "!say done"
    )
    last = model.requests("as it was")[-1]
    results = [message["content"] for message in last if message["role"] == "tool"]
    assert results == ["     1\tbrown bread", "Sent list.txt, 12 bytes."]
    assert sent(home, talk) == [b"brown bread\n"]
