"""Messages: send one, see how far it has come, follow it live; change, move, release, cancel or retry it."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, Field

from salver_server.api.follow import follow
from salver_server.api.rooms import Rooms, Use
from salver_server.api.shapes import Message
from salver_server.errors import Missing, Rejected
from salver_server.ids import AgentName, DeliveryId, FileId, MessageId, SessionId, mint
from salver_server.intake import Accepted
from salver_server.intake.accept import local
from salver_server.messages import When
from salver_server.routing import book
from salver_server.sessions import store, views

router = APIRouter(tags=["messages"])


class NewMessage(BaseModel):
    """A message typed on this computer, to an agent's main session, to `session`, or to a `new` one."""

    text: str = ""
    files: list[str] = []
    """Ids of uploads that come with it; then the text may be empty."""
    agent: str | None = None
    session: str | None = None
    new: bool = False
    sender: str = "you"
    key: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    """The sender's own name for this message: what is sent twice under one key is accepted once."""
    due_at: AwareDatetime | None = None
    when: When = "now"
    """`free`: once the agent owes nothing else. `held`: once it is released."""
    quote: str | None = None
    """A message or a reply of this conversation that it answers."""


class AcceptedMessage(BaseModel):
    id: str
    session: str
    again: bool
    """It was accepted before under the same key."""


@router.post("/messages", status_code=202)
async def send(rooms: Use, body: NewMessage) -> AcceptedMessage:
    """Accept a message; when this answers, it is on disk."""
    agent, thread = await _place(rooms, body)
    quoted = (
        await rooms.intake.quoted(body.quote, agent=agent, thread=thread) if body.quote else None
    )
    message = local(
        agent,
        body.text,
        key=body.key or mint("key"),
        sender=body.sender,
        thread=thread,
        sent_at=rooms.clock.now(),
        due_at=body.due_at,
        files=[FileId(id_) for id_ in body.files],
        when=body.when,
        quoted=quoted,
    )
    return _accepted(await rooms.intake(message))


async def _place(rooms: Rooms, body: NewMessage) -> tuple[AgentName, str | None]:
    if body.session is not None:
        if body.new:
            raise Rejected("Choose one of a session and a new one.")
        id_ = SessionId(body.session)
        row = rooms.database.glance(lambda conn: store.session(conn, id_))
        if row is None or row.state != "open":
            raise Missing(f"There is no open session '{id_}'. `salver sessions list` names them.")
        if not rooms.database.glance(lambda conn: book.is_local(conn, row.chat)):
            raise Rejected(
                f"Session '{id_}' is not a conversation on this computer. Write where it takes place."
            )
        if body.agent is not None and body.agent != row.agent:
            raise Rejected(
                f"Session '{id_}' belongs to agent '{row.agent}', not to '{body.agent}'."
            )
        return row.agent, row.thread
    return await _agent(rooms, body.agent), mint("thr") if body.new else None


async def _agent(rooms: Rooms, name: str | None) -> AgentName:
    """The agent of this name, or the first one."""
    agents = await rooms.agents.refresh()
    if not agents and name is None:
        raise Missing("There is no agent. Make one with `salver agents new NAME`.")
    found = AgentName(name) if name is not None else agents[0].name
    await rooms.agents.get(found)
    return found


MOST_ENDED = 100
"""Messages that have ended which are listed, the latest."""


@router.get("/messages")
async def messages(
    rooms: Use,
    agent: AgentName | None = None,
    session: SessionId | None = None,
    ended: bool = False,
) -> list[Message]:
    """What is not answered yet in a session, or in an agent's main one: the queue first, in its order.

    With `ended`, the latest that were answered or ended otherwise follow.
    """
    if session is None:
        name = await _agent(rooms, agent)
        session = rooms.database.glance(lambda conn: book.main_session(conn, name))
    elif rooms.database.glance(lambda conn: store.session(conn, session)) is None:
        raise Missing(f"There is no session '{session}'. `salver sessions list` names them.")
    if session is None:
        return []
    found = await rooms.database.read(
        lambda conn: (
            views.open_messages(conn, session)
            + (views.ended_messages(conn, session, most=MOST_ENDED) if ended else [])
        )
    )
    return [Message.of(view) for view in found]


@router.get("/messages/{id_}")
async def message(rooms: Use, id_: MessageId) -> Message:
    return Message.of(_view(rooms, id_))


@router.get("/messages/{id_}/events")
async def events(rooms: Use, id_: MessageId) -> StreamingResponse:
    """Lines of JSON from now until nothing more will happen to this message; the last one is `end`."""
    view = _view(rooms, id_)

    async def lines() -> AsyncIterator[bytes]:
        async for event in follow(rooms, view):
            yield event.model_dump_json().encode() + b"\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


class Edit(BaseModel):
    text: str


@router.patch("/messages/{id_}")
async def edit(rooms: Use, id_: MessageId, body: Edit) -> Message:
    """Let a message of the queue say something else."""
    await rooms.queue.edit(id_, body.text)
    return Message.of(_view(rooms, id_))


class Place(BaseModel):
    position: Annotated[int, Field(ge=1)]
    """Counted from 1; beyond the end is the end."""


@router.post("/messages/{id_}/move")
async def move(rooms: Use, id_: MessageId, body: Place) -> Message:
    """Put a message of the queue in another place."""
    await rooms.queue.move(id_, body.position)
    return Message.of(_view(rooms, id_))


@router.post("/messages/{id_}/release", status_code=202)
async def release(rooms: Use, id_: MessageId) -> Message:
    """Hand a message of the queue over now."""
    await rooms.queue.release(id_)
    return Message.of(_view(rooms, id_))


@router.post("/messages/{id_}/cancel", status_code=202)
async def cancel(rooms: Use, id_: MessageId) -> Message:
    """Ask for a message not to be answered; one that the model has seen already is answered all the same."""
    await rooms.intake.cancel(id_)
    return Message.of(_view(rooms, id_))


@router.post("/messages/{id_}/retry", status_code=202)
async def retry(rooms: Use, id_: MessageId) -> AcceptedMessage:
    """Send a message that ended unanswered once more, files included."""
    return _accepted(await rooms.intake.retry(id_))


@router.post("/deliveries/{id_}/resend", status_code=202)
async def resend(rooms: Use, id_: DeliveryId) -> None:
    """Send a reply once more that failed or is perhaps delivered."""
    await rooms.courier.resend(id_)


def _view(rooms: Rooms, id_: MessageId) -> views.MessageView:
    view = rooms.database.glance(lambda conn: views.message(conn, id_))
    if view is None:
        raise Missing(f"There is no message '{id_}'.")
    return view


def _accepted(accepted: Accepted) -> AcceptedMessage:
    return AcceptedMessage(id=accepted.message, session=accepted.sessions[0], again=accepted.again)
