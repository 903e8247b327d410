from salver_server.kit.pace import Pace


async def returns_at_once(pace: Pace) -> bool:
    waiting = pace.keep()
    try:
        waiting.send(None)
    except StopIteration:
        return True
    waiting.close()
    return False


async def test_whoever_keeps_the_pace_is_not_held_up() -> None:
    pace = Pace(3)
    assert [await returns_at_once(pace) for _ in range(3)] == [True, True, True]


async def test_whoever_comes_too_often_waits() -> None:
    pace = Pace(2)
    assert [await returns_at_once(pace) for _ in range(4)] == [True, True, False, False]
