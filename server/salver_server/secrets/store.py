"""SQL of secrets: the sealed values, and what each was used for."""

from dataclasses import dataclass
from sqlite3 import Connection

from salver_server.clock import Stamp
from salver_server.ids import SecretName, SessionId
from salver_server.secrets.seal import KeyVersion, Sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRow:
    """A secret as it may be shown: never its value."""

    name: SecretName
    created_at: Stamp
    changed_at: Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One time that a secret was handed out."""

    secret: SecretName
    at: Stamp
    session: SessionId | None
    """Whose work it was for; none for what the house itself does."""
    purpose: str


def keep(conn: Connection, sealed: Sealed, now: Stamp) -> None:
    conn.execute(
        "INSERT INTO secrets (name, key_version, nonce, ciphertext, created_at, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET key_version = excluded.key_version,"
        " nonce = excluded.nonce, ciphertext = excluded.ciphertext, changed_at = excluded.changed_at",
        (sealed.name, sealed.key_version, sealed.nonce, sealed.ciphertext, now, now),
    )


def reseal(conn: Connection, sealed: Sealed) -> None:
    """The same secret under another key: for people nothing has changed."""
    conn.execute(
        "UPDATE secrets SET key_version = ?, nonce = ?, ciphertext = ? WHERE name = ?",
        (sealed.key_version, sealed.nonce, sealed.ciphertext, sealed.name),
    )


def remove(conn: Connection, name: SecretName) -> bool:
    """Whether there was one."""
    return conn.execute("DELETE FROM secrets WHERE name = ?", (name,)).rowcount > 0


def sealed(conn: Connection, name: SecretName) -> Sealed | None:
    row = conn.execute(
        "SELECT name, key_version, nonce, ciphertext FROM secrets WHERE name = ?", (name,)
    ).fetchone()
    return _sealed(row) if row else None


def sealed_by_others(conn: Connection, version: KeyVersion) -> list[Sealed]:
    """What another key than this one sealed."""
    rows = conn.execute(
        "SELECT name, key_version, nonce, ciphertext FROM secrets WHERE key_version != ? ORDER BY name",
        (version,),
    )
    return [_sealed(row) for row in rows.fetchall()]


def versions(conn: Connection) -> set[KeyVersion]:
    """The keys that it takes to open everything."""
    return {row[0] for row in conn.execute("SELECT DISTINCT key_version FROM secrets")}


def rows(conn: Connection) -> list[SecretRow]:
    found = conn.execute("SELECT name, created_at, changed_at FROM secrets ORDER BY name")
    return [
        SecretRow(name=n, created_at=created, changed_at=changed) for n, created, changed in found
    ]


def _sealed(row: tuple[SecretName, KeyVersion, bytes, bytes]) -> Sealed:
    name, version, nonce, ciphertext = row
    return Sealed(name=name, key_version=version, nonce=nonce, ciphertext=ciphertext)


# What they were used for


def note(conn: Connection, use: Use) -> None:
    conn.execute(
        "INSERT INTO secret_uses (secret, at, session, purpose) VALUES (?, ?, ?, ?)",
        (use.secret, use.at, use.session, use.purpose),
    )


def forget_uses(conn: Connection, *, before: Stamp) -> None:
    conn.execute("DELETE FROM secret_uses WHERE at < ?", (before,))


def uses(conn: Connection, name: SecretName | None = None, *, most: int) -> list[Use]:
    """The latest first; of one secret, or of all."""
    where, values = ("WHERE secret = ?", (name,)) if name is not None else ("", ())
    found = conn.execute(
        f"SELECT secret, at, session, purpose FROM secret_uses {where} ORDER BY position DESC LIMIT ?",
        (*values, most),
    )
    return [Use(secret=s, at=at, session=session, purpose=p) for s, at, session, p in found]
