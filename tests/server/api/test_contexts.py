from typing import Any

from tests.server.api.conftest import House
from tests.server.sessions.conftest import Scribe

MEMORY: dict[str, Any] = {"part": "memory", "characters": 400, "tokens": 100, "count": 1}


async def test_what_turns_went_by_is_shown_the_latest_last(house: House) -> None:
    sent = await house.say()
    await house.hand_over(sent["session"])
    scribe = Scribe()
    for turn in (1, 2):
        scribe.turn = turn
        row = scribe.row(
            "context", model="openai/gpt-5", window=1000, used=100 * turn, compacted=turn == 2,
            parts=[MEMORY], messages=[1],
        )  # fmt: skip
        await house.take(sent["session"], row)
    place = f"/sessions/{sent['session']}/contexts"
    first, second = await house.ask("GET", place)
    assert second == {
        "turn": 2,
        "model": "openai/gpt-5",
        "window": 1000,
        "used": 200,
        "compacted": True,
        "parts": [MEMORY],
        "messages": [1],
        "recorded_at": house.clock.stamp(),
    }
    assert await house.ask("GET", f"{place}?turn=1") == [first]
    assert await house.ask("GET", f"{place}?most=1") == [second]
    assert await house.ask("GET", f"{place}?turn=3") == []
    await house.ask("GET", f"{place}?turn=0", status=422)


async def test_a_session_that_is_not_there_has_no_contexts(house: House) -> None:
    status, kind, _ = await house.refused("GET", "/sessions/ses-0/contexts")
    assert (status, kind) == (404, "Missing")
