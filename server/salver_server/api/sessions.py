"""Sessions: what runs, what was said, stop one, close one."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from salver_server.api.rooms import Rooms, Use
from salver_server.api.shapes import Delivery, Message, Spent
from salver_server.clock import stamp
from salver_server.errors import Conflict, Missing
from salver_server.ids import MessageId, SessionId
from salver_server.sessions import contexts, store, views
from salver_server.sessions.contexts import PartName
from salver_server.sessions.keeper import State
from salver_server.usage import views as usage

router = APIRouter(prefix="/sessions", tags=["sessions"])

MOST_SHOWN = 100
"""Messages and deliveries of one session that are shown at once, the latest."""


class Session(BaseModel):
    id: str
    agent: str
    thread: str | None
    open: bool
    sandbox: State
    model: str
    """Chosen for this session; empty: as AGENT.md says."""
    trouble: str
    """Why it waits; empty if nothing is wrong."""
    running: int
    waiting: int
    active_at: str


class SessionDetail(Session):
    generation: int
    sandbox_mark: str
    """How the runtime knows the sandbox; empty while it sleeps."""
    spent: Spent
    """What its calls to models took in all."""
    messages: list[Message]
    deliveries: list[Delivery]


@router.get("")
async def sessions(
    rooms: Use, closed: bool = False, most: Annotated[int, Query(ge=1, le=10_000)] = 100
) -> list[Session]:
    """The sessions that were active last."""
    rows, counts = await rooms.database.read(
        lambda conn: (store.sessions(conn, closed=closed, most=most), views.counts(conn))
    )
    return [_session(rooms, row, counts.get(row.id)) for row in rows]


@router.get("/{id_}")
async def session(rooms: Use, id_: SessionId) -> SessionDetail:
    row, counts, messages, deliveries, spent, turns = await rooms.database.read(
        lambda conn: (
            store.session(conn, id_),
            views.counts(conn),
            views.messages(conn, id_, most=MOST_SHOWN),
            views.latest_deliveries(conn, id_, most=MOST_SHOWN),
            usage.of_session(conn, id_),
            usage.of_turns(conn, id_, most=MOST_SHOWN),
        )
    )
    if row is None:
        raise _missing(id_)
    live = rooms.keeper.live(id_)
    return SessionDetail(
        **_session(rooms, row, counts.get(id_)).model_dump(),
        generation=row.generation,
        sandbox_mark=live.sandbox.mark.handle if live else "",
        spent=Spent.of(spent),
        messages=[Message.of(view, turns.get(view.turn or 0)) for view in messages],
        deliveries=[Delivery.of(view) for view in deliveries],
    )


class Part(BaseModel):
    part: PartName
    characters: int
    tokens: int
    """An estimate."""
    count: int


class Context(BaseModel):
    """What the last request of a turn was made of."""

    turn: int
    model: str
    window: int
    """Tokens that the model takes; 0 where nobody knows."""
    used: int
    """Tokens of the request, as far as they are known."""
    compacted: bool
    """Earlier parts of the conversation were summarised in this turn."""
    parts: list[Part]
    messages: list[int]
    """Numbers of the messages that the turn took up."""
    recorded_at: str


@router.get("/{id_}/contexts")
async def contexts_(
    rooms: Use,
    id_: SessionId,
    turn: Annotated[int | None, Query(ge=1)] = None,
    most: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> list[Context]:
    """What the latest turns went by, or one turn, oldest first."""
    row, found = await rooms.database.read(
        lambda conn: (
            store.session(conn, id_),
            contexts.latest(conn, id_, turn=turn, most=most),
        )
    )
    if row is None:
        raise _missing(id_)
    return [Context.model_validate(asdict(context)) for context in found]


class Order(BaseModel):
    order: list[MessageId]
    """Every message of the queue, in the order wanted."""


@router.post("/{id_}/queue")
async def arrange(rooms: Use, id_: SessionId, body: Order) -> list[Message]:
    """Let the queue have another order; returns what is not answered yet, the queue first."""
    await rooms.queue.arrange(id_, body.order)
    found = await rooms.database.read(lambda conn: views.open_messages(conn, id_))
    return [Message.of(view) for view in found]


@router.post("/{id_}/stop", status_code=202)
async def stop(rooms: Use, id_: SessionId) -> None:
    """Stop the running turn and everything that waits before this order."""
    await rooms.intake.stop(id_)


@router.post("/{id_}/close")
async def close(rooms: Use, id_: SessionId) -> Session:
    """Close a session: what it still owes is cancelled, its sandbox ends, its files stay."""
    row = await rooms.database.read(lambda conn: store.session(conn, id_))
    if row is None:
        raise _missing(id_)
    now = stamp(rooms.clock.now())
    if not await rooms.database.write(lambda conn: store.close_session(conn, id_, now)):
        raise Conflict(f"Session '{id_}' is closed already.")
    rooms.keeper.end_session(id_, "The session was closed.")
    row = await rooms.database.read(lambda conn: store.session(conn, id_))
    assert row is not None
    return _session(rooms, row, None)


def _missing(id_: SessionId) -> Missing:
    return Missing(f"There is no session '{id_}'. `salver sessions list` names them.")


def _session(rooms: Rooms, row: store.Session, counts: views.Counts | None) -> Session:
    return Session(
        id=row.id,
        agent=row.agent,
        thread=row.thread,
        open=row.state == "open",
        sandbox=rooms.keeper.state(row.id),
        model=row.model,
        trouble=row.trouble,
        running=counts.running if counts else 0,
        waiting=counts.waiting if counts else 0,
        active_at=row.active_at,
    )
