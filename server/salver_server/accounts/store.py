"""SQL of accounts; their keys lie in the vault."""

from dataclasses import dataclass, field
from sqlite3 import Connection

from salver_server.clock import Stamp
from salver_server.ids import AgentName, SecretName

EVERYONE = AgentName("")
"""In place of an agent: for every agent that has no account of its own with the provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the owner has with one provider, for one agent or for everyone."""

    provider: str
    agent: AgentName
    base_url: str
    model: str
    """Empty where the provider's suggestion will do."""
    plain_http: bool
    """Whether calls may go to another computer unencrypted."""
    keyed: bool
    """There is a key, and it was given for this very address."""
    preferred: bool = field(compare=False)
    """It is the one for agents that name no provider."""
    created_at: Stamp
    changed_at: Stamp

    @property
    def secret(self) -> SecretName:
        """The name that its key has in the vault."""
        return SecretName(".".join(filter(None, (PREFIX, self.provider, self.agent))))


PREFIX = "provider"


def accounts(conn: Connection) -> list[Account]:
    rows = conn.execute(
        "SELECT provider, agent, base_url, model, plain_http, keyed, preferred, created_at, changed_at"
        " FROM accounts ORDER BY created_at, provider, agent"
    )
    return [
        Account(
            provider=provider,
            agent=agent,
            base_url=base_url,
            model=model,
            plain_http=bool(plain_http),
            keyed=bool(keyed),
            preferred=bool(preferred),
            created_at=created_at,
            changed_at=changed_at,
        )
        for provider, agent, base_url, model, plain_http, keyed, preferred, created_at, changed_at in rows
    ]


def keep(conn: Connection, account: Account) -> None:
    """Keep it instead of the one before; where it is preferred, no other one is any longer."""
    if account.preferred:
        conn.execute("UPDATE accounts SET preferred = 0 WHERE preferred = 1")
    conn.execute(
        "INSERT INTO accounts"
        " (provider, agent, base_url, model, plain_http, keyed, preferred, created_at, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (provider, agent) DO UPDATE SET"
        " base_url = excluded.base_url, model = excluded.model, plain_http = excluded.plain_http,"
        " keyed = excluded.keyed, preferred = excluded.preferred, changed_at = excluded.changed_at",
        (
            account.provider,
            account.agent,
            account.base_url,
            account.model,
            account.plain_http,
            account.keyed,
            account.preferred,
            account.created_at,
            account.changed_at,
        ),
    )


def remove(conn: Connection, account: Account) -> None:
    conn.execute(
        "DELETE FROM accounts WHERE provider = ? AND agent = ?", (account.provider, account.agent)
    )
