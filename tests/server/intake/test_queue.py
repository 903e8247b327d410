from dataclasses import dataclass, field

import pytest

from salver_server.errors import Conflict, Missing, Rejected
from salver_server.ids import MessageId, SessionId
from salver_server.intake import Queue
from salver_server.sessions import queue
from tests.server.conftest import Desk


@dataclass(slots=True, kw_only=True)
class Line:
    """A queue of a session that is busy."""

    desk: Desk
    session: SessionId
    queue: Queue
    changed: list[SessionId] = field(default_factory=list[SessionId])
    messages: dict[str, MessageId] = field(default_factory=dict[str, MessageId])

    async def texts(self) -> list[str]:
        rows = await self.desk.database.read(
            lambda conn: [
                conn.execute("SELECT text FROM intake WHERE id = ?", (id_,)).fetchone()[0]
                for id_ in queue.waiting(conn, self.session)
            ]
        )
        return list(rows)


@pytest.fixture
async def line(desk: Desk) -> Line:
    """One message is handed over; three wait until the agent is free."""
    found = await desk.intake(desk.message("now"))
    changed: list[SessionId] = []
    line = Line(
        desk=desk,
        session=found.sessions[0],
        queue=Queue(database=desk.database, clock=desk.clock, changed=changed.append),
        changed=changed,
        messages={"now": found.message},
    )
    for text in ("one", "two", "three"):
        line.messages[text] = (await desk.intake(desk.message(text, when="free"))).message
    return line


async def test_what_waits_can_say_something_else(line: Line) -> None:
    await line.queue.edit(line.messages["two"], "zwei")
    assert await line.texts() == ["one", "zwei", "three"]
    assert line.changed == [line.session]


@dataclass(frozen=True, kw_only=True)
class Move:
    position: int
    order: list[str]


@pytest.mark.parametrize(
    "case",
    [
        Move(position=1, order=["two", "one", "three"]),
        Move(position=2, order=["one", "two", "three"]),
        Move(position=3, order=["one", "three", "two"]),
        Move(position=9, order=["one", "three", "two"]),
    ],
    ids=lambda case: str(case.position),
)
async def test_what_waits_can_be_moved(line: Line, case: Move) -> None:
    await line.queue.move(line.messages["two"], case.position)
    assert await line.texts() == case.order


async def test_the_queue_can_have_another_order(line: Line) -> None:
    wanted = ["three", "one", "two"]
    await line.queue.arrange(line.session, [line.messages[text] for text in wanted])
    assert await line.texts() == wanted


@pytest.mark.parametrize("order", [["one", "two"], ["one", "two", "two"], ["now", "one", "two"]])
async def test_an_order_of_other_messages_is_refused(line: Line, order: list[str]) -> None:
    with pytest.raises(Conflict, match="The queue holds other messages by now"):
        await line.queue.arrange(line.session, [line.messages[text] for text in order])
    assert await line.texts() == ["one", "two", "three"]


async def test_what_waits_can_be_handed_over_at_once(line: Line) -> None:
    await line.queue.release(line.messages["two"])
    assert await line.texts() == ["one", "three"]
    assert await line.desk.state(line.messages["two"]) == "received"
    assert line.changed == [line.session]


async def test_what_waits_is_cancelled_at_once(line: Line) -> None:
    assert await line.desk.intake.cancel(line.messages["two"]) == "cancelled"
    assert await line.texts() == ["one", "three"]


@pytest.mark.parametrize("wish", ["edit", "move", "release"])
async def test_what_was_handed_over_stays_as_it_is(line: Line, wish: str) -> None:
    async def ask(id_: MessageId) -> None:
        match wish:
            case "edit":
                await line.queue.edit(id_, "later")
            case "move":
                await line.queue.move(id_, 1)
            case _:
                await line.queue.release(id_)

    with pytest.raises(Conflict, match="was handed over already"):
        await ask(line.messages["now"])
    await line.desk.intake.cancel(line.messages["one"])
    with pytest.raises(Conflict, match="is cancelled already"):
        await ask(line.messages["one"])
    with pytest.raises(Missing, match="There is no message 'msg-nothing'"):
        await ask(MessageId("msg-nothing"))
    assert line.changed == []


@pytest.mark.parametrize(
    ("text", "says"),
    [("  ", "is empty"), ("/clear", "A command does not wait"), ("\ud83d", "half of a character")],
)
async def test_what_cannot_be_said_is_refused(line: Line, text: str, says: str) -> None:
    with pytest.raises(Rejected, match=says):
        await line.queue.edit(line.messages["one"], text)
    assert await line.texts() == ["one", "two", "three"]


async def test_a_message_waits_for_a_time_or_in_the_queue(desk: Desk) -> None:
    with pytest.raises(Rejected, match="Choose one of a time and a place"):
        await desk.intake(desk.message(due_in=60, when="free"))
