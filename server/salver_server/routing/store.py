"""SQL of chats and wirings."""

from dataclasses import dataclass
from sqlite3 import Connection

from salver_server.clock import Stamp
from salver_server.ids import AgentName, ChannelName, ChatId, mint
from salver_server.routing import Engagement, Mode, Wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    id: ChatId
    channel: ChannelName
    address: str
    title: str
    is_group: bool


def chat(conn: Connection, channel: ChannelName, address: str) -> Chat | None:
    row = conn.execute(
        "SELECT id, channel, address, title, is_group FROM chats WHERE channel = ? AND address = ?",
        (channel, address),
    ).fetchone()
    if row is None:
        return None
    return Chat(id=row[0], channel=row[1], address=row[2], title=row[3], is_group=bool(row[4]))


def chat_of(conn: Connection, id_: ChatId) -> Chat | None:
    row = conn.execute("SELECT channel, address FROM chats WHERE id = ?", (id_,)).fetchone()
    return chat(conn, *row) if row else None


def new_chat(
    conn: Connection, channel: ChannelName, address: str, *, title: str, is_group: bool, now: Stamp
) -> ChatId:
    id_ = ChatId(mint("cht"))
    conn.execute(
        "INSERT INTO chats (id, channel, address, title, is_group, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (id_, channel, address, title, int(is_group), now),
    )
    return id_


def wirings(conn: Connection, chat: ChatId) -> list[Wiring]:
    rows = conn.execute(
        "SELECT agent, mode, engagement FROM wirings WHERE chat = ? ORDER BY agent", (chat,)
    )
    return [
        Wiring(agent=agent, mode=mode, engagement=engagement) for agent, mode, engagement in rows
    ]


def wire(
    conn: Connection, chat: ChatId, agent: AgentName, *, mode: Mode, engagement: Engagement
) -> None:
    """Let an agent serve a chat; an existing wiring is changed."""
    conn.execute(
        "INSERT INTO wirings (chat, agent, mode, engagement) VALUES (?, ?, ?, ?) ON CONFLICT (chat, agent)"
        " DO UPDATE SET mode = excluded.mode, engagement = excluded.engagement",
        (chat, agent, mode, engagement),
    )


def serves(conn: Connection, agent: AgentName) -> bool:
    """Whether there is such an agent, not removed."""
    row = conn.execute(
        "SELECT 1 FROM agents WHERE name = ? AND removed_at IS NULL", (agent,)
    ).fetchone()
    return row is not None
