import json
from datetime import timedelta
from typing import Any

import pytest

from salver_server.messages import LONGEST_TEXT
from tests.server.api.conftest import House
from tests.server.sessions.conftest import Scribe


async def test_an_accepted_message_can_be_seen(house: House) -> None:
    sent = await house.say("hello", sender="ann")
    await house.hand_over(sent["session"])
    assert sent["again"] is False
    assert await house.ask("GET", f"/messages/{sent['id']}") == {
        "id": sent["id"],
        "session": sent["session"],
        "seq": 1,
        "sender": "ann",
        "text": "hello",
        "files": [],
        "state": "queued",
        "position": None,
        "release": None,
        "reason": "",
        "delivery": None,
        "attempts": 0,
        "turn": None,
        "spent": None,
        "accepted_at": house.clock.stamp(),
        "due_at": house.clock.stamp(),
        "changed_at": house.clock.stamp(),
    }


async def test_a_message_sent_twice_under_one_key_is_accepted_once(house: House) -> None:
    one, two = await house.say(key="7"), await house.say(key="7")
    assert (two["id"], two["session"], two["again"]) == (one["id"], one["session"], True)


async def test_two_messages_without_a_key_are_two(house: House) -> None:
    assert (await house.say())["id"] != (await house.say())["id"]


async def test_a_conversation_goes_on_until_a_new_one_is_begun(house: House) -> None:
    main = (await house.say())["session"]
    assert (await house.say())["session"] == main
    fresh = (await house.say(new=True))["session"]
    assert fresh != main
    assert (await house.say(session=fresh))["session"] == fresh
    assert (await house.say(new=True))["session"] not in (main, fresh)
    assert (await house.say(session=main))["session"] == main


async def test_without_a_name_the_first_agent_is_written_to(house: House) -> None:
    await house.ask("POST", "/agents", {"name": "ada"}, status=201)
    sent = await house.say()
    assert (await house.ask("GET", f"/sessions/{sent['session']}"))["agent"] == "ada"


async def test_a_message_for_later_waits(house: House) -> None:
    later = (house.clock.now() + timedelta(hours=1)).isoformat()
    sent = await house.say(due_at=later)
    found = await house.ask("GET", f"/messages/{sent['id']}")
    assert (found["state"], found["due_at"]) == ("received", house.clock.stamp(3600))


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "empty": ({"text": ""}, 422, "The message is empty. Write something."),
    "too-long": ({"text": "x" * (LONGEST_TEXT + 1)}, 422, "Send it in parts."),
    "no-text": ({}, 422, "The message is empty. Write something."),
    "number": ({"text": 7}, 422, "field 'text' is not usable: Input should be a valid string"),
    "naive-time": ({"text": "hi", "due_at": "2030-01-02T12:00:00"}, 422, "field 'due_at' is not"),
    "empty-key": ({"text": "hi", "key": ""}, 422, "field 'key' is not usable"),
    "no-agent": ({"text": "hi", "agent": "eve"}, 404, "There is no agent 'eve'. Agents: salver."),
    "no-such-name": ({"text": "hi", "agent": "../x"}, 404, "There is no agent '../x'"),
    "no-session": ({"text": "hi", "session": "ses-x"}, 404, "There is no open session 'ses-x'"),
    "both": ({"text": "hi", "session": "ses-x", "new": True}, 422, "Choose one of a session and"),
}


@pytest.mark.parametrize(("body", "status", "words"), REFUSED.values(), ids=list(REFUSED))
async def test_what_can_not_be_accepted_is_refused_in_plain_words(
    house: House, body: dict[str, Any], status: int, words: str
) -> None:
    found = await house.refused("POST", "/messages", body)
    assert found[0] == status
    assert words in found[2]
    assert await house.ask("GET", "/sessions") == []


async def test_a_session_of_another_agent_is_refused(house: House) -> None:
    sent = await house.say()
    await house.ask("POST", "/agents", {"name": "ada"}, status=201)
    status, _, words = await house.refused(
        "POST", "/messages", {"text": "hi", "agent": "ada", "session": sent["session"]}
    )
    assert status == 422
    assert "belongs to agent 'salver', not to 'ada'" in words


async def test_a_session_in_another_chat_is_not_written_to_from_here(house: House) -> None:
    """A message typed here belongs to the chat here, whatever session it names."""
    sent = await house.say()
    await house.write(
        lambda conn: conn.execute(
            "UPDATE sessions SET chat = NULL WHERE id = ?", (sent["session"],)
        )
    )
    status, _, words = await house.refused(
        "POST", "/messages", {"text": "hi", "session": sent["session"]}
    )
    assert status == 422
    assert "is not a conversation on this computer" in words


async def test_without_any_agent_nobody_can_be_written_to(house: House) -> None:
    await house.ask("DELETE", "/agents/salver")
    status, _, words = await house.refused("POST", "/messages", {"text": "hi"})
    assert (status, words) == (404, "There is no agent. Make one with `salver agents new NAME`.")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"text": "\\ud83d"}'])
async def test_a_body_that_makes_no_sense_is_refused(house: House, content: bytes) -> None:
    answer = await house.client.post("/messages", content=content)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["kind"] == "Rejected"


# Orders


async def test_a_message_that_waits_is_cancelled(house: House) -> None:
    sent = await house.say()
    found = await house.ask("POST", f"/messages/{sent['id']}/cancel", status=202)
    assert found["state"] == "cancelled"


async def test_a_message_that_ended_unanswered_is_tried_again(house: House) -> None:
    sent = await house.say("please")
    await house.ask("POST", f"/messages/{sent['id']}/cancel", status=202)
    again = await house.ask("POST", f"/messages/{sent['id']}/retry", status=202)
    assert again["session"] == sent["session"]
    assert (await house.ask("GET", f"/messages/{again['id']}"))["text"] == "please"


async def test_a_message_that_is_still_owed_is_not_tried_again(house: House) -> None:
    sent = await house.say()
    status, kind, _ = await house.refused("POST", f"/messages/{sent['id']}/retry")
    assert (status, kind) == (409, "Conflict")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/messages/msg-x"),
        ("GET", "/messages/msg-x/events"),
        ("POST", "/messages/msg-x/cancel"),
        ("POST", "/messages/msg-x/retry"),
        ("POST", "/deliveries/del-x/resend"),
    ],
)
async def test_what_is_not_there_is_missing(house: House, method: str, path: str) -> None:
    status, kind, words = await house.refused(method, path)
    assert (status, kind) == (404, "Missing")
    assert path.split("/")[2] in words


async def test_a_reply_that_perhaps_arrived_is_sent_again(house: House) -> None:
    sent = await house.say()
    await house.answer(sent)
    await house.state(sent["id"], until="delivered")
    detail = await house.ask("GET", f"/sessions/{sent['session']}")
    (delivery,) = detail["deliveries"]
    status, kind, _ = await house.refused("POST", f"/deliveries/{delivery['id']}/resend")
    assert (status, kind) == (409, "Conflict")
    await house.write(lambda conn: conn.execute("UPDATE deliveries SET state = 'perhaps'"))
    await house.ask("POST", f"/deliveries/{delivery['id']}/resend", status=202)
    await house.state(sent["id"], until="delivered")


async def test_an_answered_message_is_delivered_here(house: House) -> None:
    sent = await house.say()
    await house.hand_over(sent["session"])
    scribe = Scribe()
    await house.take(sent["session"], scribe.claim(1))
    assert (await house.ask("GET", f"/messages/{sent['id']}"))["state"] == "running"
    await house.take(sent["session"], scribe.reply("hi", 1), scribe.ack(1))
    await house.state(sent["id"], until="delivered")


# The queue


async def queue(house: House, *texts: str) -> list[str]:
    """What waits for an agent that is busy."""
    await house.say("now")
    return [(await house.say(text, when="free"))["id"] for text in texts]


async def test_the_queue_is_seen_first_and_can_be_changed(house: House) -> None:
    one, two = await queue(house, "one", "two")
    held = (await house.say("three", when="held"))["id"]
    edited = await house.ask("PATCH", f"/messages/{two}", {"text": "zwei"})
    assert (edited["text"], edited["position"], edited["release"]) == ("zwei", 2, "free")
    moved = await house.ask("POST", f"/messages/{held}/move", {"position": 1})
    assert (moved["position"], moved["release"]) == (1, "person")
    found = await house.ask("GET", "/messages")
    assert [(it["text"], it["position"]) for it in found[:3]] == [
        ("three", 1),
        ("one", 2),
        ("zwei", 3),
    ]
    order = {"order": [two, one, held]}
    found = await house.ask("POST", f"/sessions/{found[0]['session']}/queue", order)
    assert [it["id"] for it in found[:3]] == [two, one, held]
    released = await house.ask("POST", f"/messages/{one}/release", status=202)
    assert released["position"] is None
    assert released["state"] in ("received", "queued")


async def test_what_was_handed_over_is_a_conflict(house: House) -> None:
    sent = await house.say("now")
    for method, what, body in (
        ("PATCH", "", {"text": "later"}),
        ("POST", "/move", {"position": 1}),
        ("POST", "/release", None),
    ):
        status, kind, words = await house.refused(method, f"/messages/{sent['id']}{what}", body)
        assert (status, kind) == (409, "Conflict")
        assert "was handed over already. Cancel it, or write another message." in words


async def test_an_order_of_other_messages_is_a_conflict(house: House) -> None:
    (one,) = await queue(house, "one")
    session = (await house.ask("GET", f"/messages/{one}"))["session"]
    found = await house.refused("POST", f"/sessions/{session}/queue", {"order": []})
    assert found[:2] == (409, "Conflict")
    found = await house.refused("POST", "/sessions/ses-x/queue", {"order": []})
    assert found[:2] == (404, "Missing")


async def test_what_has_ended_is_listed_when_asked_for(house: House) -> None:
    sent = await house.say()
    await house.answer(sent)
    assert await house.ask("GET", "/messages") == []
    path = f"/messages?session={sent['session']}&ended=true"
    (found,) = await house.ask("GET", path)
    assert (found["id"], found["delivery"][:4]) == (sent["id"], "del-")
    assert (await house.refused("GET", "/messages?session=ses-x"))[0] == 404


async def test_an_agent_that_nobody_wrote_to_has_no_queue(house: House) -> None:
    assert await house.ask("GET", "/messages?agent=salver") == []


# Quotes


async def test_an_earlier_message_or_its_reply_is_quoted(house: House) -> None:
    sent = await house.say("hello", sender="ann")
    await house.answer(sent, text="x" * 3000)
    (earlier,) = await house.ask("GET", "/messages?ended=true")
    for id_ in (sent["id"], earlier["delivery"]):
        await house.say("about that", quote=id_)
    rows = await house.write(
        lambda conn: conn.execute("SELECT quoted FROM intake WHERE quoted <> ''").fetchall()
    )
    assert [json.loads(quoted) for (quoted,) in rows] == [
        {"sender": "ann", "text": "hello"},
        {"sender": "salver", "text": "x" * 2000},
    ]


async def test_what_was_said_elsewhere_is_not_quoted(house: House) -> None:
    sent = await house.say(new=True)
    for quote in (sent["id"], "msg-x"):
        status, _, words = await house.refused("POST", "/messages", {"text": "hi", "quote": quote})
        assert status == 404
        assert f"There is no message or reply '{quote}' in this conversation." in words


# Commands


async def test_a_command_is_answered_although_everything_is_stopped(house: House) -> None:
    sent = await house.say("/help")
    found = await house.state(sent["id"], until="delivered")
    assert found["text"] == "/help"
    (reply,) = (await house.ask("GET", f"/sessions/{sent['session']}"))["deliveries"]
    assert (reply["kind"], reply["answers"]) == ("reply", [sent["id"]])
    assert "/compact" in reply["text"]
    sent = await house.say("/model tiny")
    await house.state(sent["id"], until="delivered")
    found = await house.ask("GET", f"/sessions/{sent['session']}")
    assert found["deliveries"][-1]["text"].startswith("'demo' calls no model, so there is none")
    assert found["model"] == ""
