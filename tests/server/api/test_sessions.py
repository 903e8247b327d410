import pytest

from tests.server.api.conftest import House


async def test_sessions_are_listed_the_latest_active_first(house: House) -> None:
    first = await house.say()
    house.clock.advance(1)
    second = await house.say(new=True)
    found = await house.ask("GET", "/sessions")
    assert [session["id"] for session in found] == [second["session"], first["session"]]
    assert found[1] == {
        "id": first["session"],
        "agent": "salver",
        "thread": None,
        "open": True,
        "sandbox": "asleep",
        "model": "",
        "trouble": "",
        "running": 0,
        "waiting": 1,
        "active_at": house.clock.stamp(-1),
    }


async def test_of_many_sessions_those_that_were_active_last_are_listed(house: House) -> None:
    made: list[str] = []
    for _ in range(3):
        house.clock.advance(1)
        made.append((await house.say(new=True))["session"])
    found = await house.ask("GET", "/sessions?most=2")
    assert [session["id"] for session in found] == [made[2], made[1]]
    await house.ask("GET", "/sessions?most=0", status=422)


async def test_a_session_shows_what_was_said_and_what_was_delivered(house: House) -> None:
    sent = await house.say("hello")
    await house.answer(sent, "hi")
    await house.state(sent["id"], until="delivered")
    found = await house.ask("GET", f"/sessions/{sent['session']}")
    assert (found["generation"], found["sandbox_mark"]) == (0, "")
    ((message,), (delivery,)) = found["messages"], found["deliveries"]
    assert (message["text"], message["state"]) == ("hello", "delivered")
    assert (delivery["kind"], delivery["text"], delivery["state"]) == ("reply", "hi", "delivered")
    assert delivery["answers"] == [sent["id"]]


async def test_what_waits_in_a_session_is_stopped(house: House) -> None:
    sent = await house.say()
    await house.ask("POST", f"/sessions/{sent['session']}/stop", status=202)
    assert (await house.ask("GET", f"/messages/{sent['id']}"))["state"] == "stopped"


async def test_a_closed_session_is_kept_to_be_read(house: House) -> None:
    sent = await house.say()
    closed = await house.ask("POST", f"/sessions/{sent['session']}/close")
    assert (closed["open"], closed["waiting"]) == (False, 0)
    assert await house.ask("GET", "/sessions") == []
    (found,) = await house.ask("GET", "/sessions?closed=true")
    assert found["id"] == sent["session"]
    assert (await house.ask("GET", f"/messages/{sent['id']}"))["state"] == "cancelled"


async def test_a_closed_session_takes_nothing_any_more(house: House) -> None:
    session = (await house.say())["session"]
    await house.ask("POST", f"/sessions/{session}/close")
    status, kind, _ = await house.refused("POST", f"/sessions/{session}/close")
    assert (status, kind) == (409, "Conflict")
    for path, body in ((f"/sessions/{session}/stop", None), ("/messages", {"text": "hi", "session": session})):  # fmt: skip
        status, kind, words = await house.refused("POST", path, body)
        assert (status, kind) == (404, "Missing")
        assert f"There is no open session '{session}'" in words


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sessions/ses-x"),
        ("POST", "/sessions/ses-x/stop"),
        ("POST", "/sessions/ses-x/close"),
    ],
)
async def test_a_session_that_is_not_there_is_missing(house: House, method: str, path: str) -> None:
    status, kind, words = await house.refused(method, path)
    assert (status, kind) == (404, "Missing")
    assert "'ses-x'" in words
