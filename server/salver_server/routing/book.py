"""The book of chats as intake asks it: which chat a message belongs to, and which sessions it is for."""

from sqlite3 import Connection

from salver_server.clock import Stamp, stamp
from salver_server.ids import AgentName, ChannelName, ChatId, SessionId
from salver_server.messages import Inbound
from salver_server.routing import Place, route, store

LOCAL = ChannelName("local")
"""Where people write from this computer; there, an agent's name is the address of its own chat."""


def routed(conn: Connection, message: Inbound) -> tuple[ChatId, list[Place]] | None:
    """The chat of a message and the sessions it is for; None for a chat that nobody knows."""
    chat = store.chat(conn, message.channel, message.address)
    known = chat.id if chat else None
    wirings = store.wirings(conn, known) if known else []
    agent = AgentName(message.address)
    if message.channel == LOCAL and not wirings and store.serves(conn, agent):
        known = wire_local(conn, agent, now=stamp(message.sent_at))
        wirings = store.wirings(conn, known)
    return (known, route(message, known, wirings)) if known else None


def main_session(conn: Connection, agent: AgentName) -> SessionId | None:
    """The open session of the agent's own chat on this computer, outside every thread."""
    row = conn.execute(
        "SELECT s.id FROM sessions s LEFT JOIN chats c ON c.id = s.chat"
        " WHERE s.agent = ?1 AND s.state = 'open' AND s.thread IS NULL"
        " AND (s.chat IS NULL OR c.channel = ?2 AND c.address = ?1)",
        (agent, LOCAL),
    ).fetchone()
    return row[0] if row else None


def is_local(conn: Connection, id_: ChatId | None) -> bool:
    """Whether a chat is on this computer."""
    found = store.chat_of(conn, id_) if id_ else None
    return found is not None and found.channel == LOCAL


def wire_local(conn: Connection, agent: AgentName, *, now: Stamp) -> ChatId:
    """The agent's chat in the window, where each thread is a session of its own; made when first used."""
    chat = store.chat(conn, LOCAL, agent)
    id_ = (
        chat.id
        if chat
        else store.new_chat(conn, LOCAL, agent, title=agent, is_group=False, now=now)
    )
    store.wire(conn, id_, agent, mode="per-thread", engagement="every-message")
    return id_
