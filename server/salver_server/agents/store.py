"""SQL of agents: the last usable version of each AGENT.md and of BASE.md, and what a person agreed to."""

from dataclasses import dataclass
from sqlite3 import Connection

from salver_server.clock import Stamp
from salver_server.ids import AgentName


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRow:
    name: AgentName
    text: str
    problem: str
    loaded_at: Stamp
    agreed: str
    """What a person agreed to that it may reach; empty for nothing."""


def agents(conn: Connection) -> list[AgentRow]:
    """Agents that serve."""
    rows = conn.execute(
        "SELECT name, text, problem, loaded_at, ifnull(what, '') FROM agents"
        " LEFT JOIN consents ON agent = name WHERE removed_at IS NULL ORDER BY name"
    )
    return [
        AgentRow(name=name, text=text, problem=problem, loaded_at=at, agreed=agreed)
        for name, text, problem, at, agreed in rows
    ]


def text(conn: Connection, name: AgentName) -> str:
    """The last AGENT.md of an agent that could be used, removed or not."""
    return conn.execute("SELECT text FROM agents WHERE name = ?", (name,)).fetchone()[0]


def keep(conn: Connection, name: AgentName, text: str, now: Stamp) -> None:
    conn.execute(
        "INSERT INTO agents (name, text, problem, loaded_at) VALUES (?, ?, '', ?) ON CONFLICT (name)"
        " DO UPDATE SET text = excluded.text, problem = '', loaded_at = excluded.loaded_at, removed_at = NULL",
        (name, text, now),
    )


def say_problem(conn: Connection, name: AgentName, problem: str) -> None:
    conn.execute("UPDATE agents SET problem = ? WHERE name = ?", (problem, name))


def remove(conn: Connection, name: AgentName, now: Stamp) -> None:
    conn.execute("UPDATE agents SET removed_at = ? WHERE name = ?", (now, name))
    conn.execute("DELETE FROM wirings WHERE agent = ?", (name,))
    take_back(conn, name)


def base(conn: Connection) -> tuple[str, str]:
    """The last BASE.md that could be used, and why the one as it lies there cannot be."""
    row = conn.execute("SELECT text, problem FROM base").fetchone()
    return row or ("", "")


def keep_base(conn: Connection, text: str, *, problem: str) -> None:
    conn.execute(
        "INSERT INTO base (one, text, problem) VALUES (1, ?, ?)"
        " ON CONFLICT (one) DO UPDATE SET text = excluded.text, problem = excluded.problem",
        (text, problem),
    )


def agree(conn: Connection, name: AgentName, what: str, now: Stamp) -> None:
    """Nothing where the agent is no longer in service: its successor must not inherit this."""
    conn.execute(
        "INSERT INTO consents (agent, what, at)"
        " SELECT name, ?, ? FROM agents WHERE name = ? AND removed_at IS NULL"
        " ON CONFLICT (agent) DO UPDATE SET what = excluded.what, at = excluded.at",
        (what, now, name),
    )


def take_back(conn: Connection, name: AgentName) -> None:
    conn.execute("DELETE FROM consents WHERE agent = ?", (name,))
