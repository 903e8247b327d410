from salver_server.ids import SessionId
from salver_server.sessions.berths import Berths

A, B, C, D = (SessionId(name) for name in "abcd")


def test_a_place_is_taken_while_there_is_one() -> None:
    berths = Berths(2)
    assert [berths.take(session) for session in (A, B, C)] == [True, True, False]
    assert (berths.waits(A), berths.waits(C), berths.crowded) == (False, True, True)


def test_who_leaves_makes_room_for_who_has_waited_longest() -> None:
    berths = Berths(1)
    for session in (A, B, C):
        berths.take(session)
    assert berths.next() is None
    berths.leave(A)
    assert (berths.next(), berths.crowded) == (B, False)


def test_nobody_jumps_the_line() -> None:
    berths = Berths(1)
    for session in (A, B):
        berths.take(session)
    berths.leave(A)
    assert [berths.take(session) for session in (C, A, B)] == [False, False, True]
    berths.leave(B)
    assert [berths.take(session) for session in (A, C)] == [False, True]


def test_who_gives_up_waiting_holds_up_nobody() -> None:
    berths = Berths(1)
    for session in (A, B, C):
        berths.take(session)
    berths.leave(B)
    berths.leave(A)
    assert berths.take(C)


def test_waiting_twice_is_waiting_once() -> None:
    berths = Berths(1)
    for session in (A, B, B):
        berths.take(session)
    berths.leave(A)
    assert berths.take(B)
    assert (berths.next(), berths.waits(B)) == (None, False)


def test_what_was_adopted_keeps_its_place_although_there_are_too_many() -> None:
    berths = Berths(1)
    for session in (A, B):
        berths.keep(session)
    assert not berths.take(C)
    berths.leave(A)
    assert berths.next() is None
    berths.leave(B)
    assert berths.next() == C
