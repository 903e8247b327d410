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
        "reason": "",
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
