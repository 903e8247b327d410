"""Messages: send one, see how far it has come, follow it live, cancel it, try it again."""

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


class AcceptedMessage(BaseModel):
    id: str
    session: str
    again: bool
    """It was accepted before under the same key."""


@router.post("/messages", status_code=202)
async def send(rooms: Use, body: NewMessage) -> AcceptedMessage:
    """Accept a message; when this answers, it is on disk."""
    agent, thread = await _place(rooms, body)
    message = local(
        agent,
        body.text,
        key=body.key or mint("key"),
        sender=body.sender,
        thread=thread,
        sent_at=rooms.clock.now(),
        due_at=body.due_at,
        files=[FileId(id_) for id_ in body.files],
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
    agents = await rooms.agents.refresh()
    if not agents and body.agent is None:
        raise Missing("There is no agent. Make one with `salver agents new NAME`.")
    name = AgentName(body.agent) if body.agent is not None else agents[0].name
    await rooms.agents.get(name)
    return name, mint("thr") if body.new else None


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
