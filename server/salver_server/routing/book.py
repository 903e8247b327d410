"""The book of chats as the rest of the house uses it: route a message, wire an agent's own chat."""

from sqlite3 import Connection

from salver_server.clock import Stamp
from salver_server.ids import AgentName, ChannelName, ChatId
from salver_server.messages import Inbound
from salver_server.routing import Place, route, store

LOCAL = ChannelName("local")


def routed(conn: Connection, message: Inbound) -> tuple[ChatId, list[Place]] | None:
    """The chat of a message and the sessions it is for; None for a chat that nobody knows."""
    chat = store.chat(conn, message.channel, message.address)
    if chat is None:
        return None
    return chat.id, route(message, chat.id, store.wirings(conn, chat.id))


def wire_local(conn: Connection, agent: AgentName, title: str, now: Stamp) -> ChatId:
    """The agent's chat in the window, where each thread is a session of its own."""
    chat = store.chat(conn, LOCAL, agent)
    id_ = (
        chat.id
        if chat
        else store.new_chat(conn, LOCAL, agent, title=title, is_group=False, now=now)
    )
    store.wire(conn, id_, agent, mode="per-thread", engagement="every-message")
    return id_
