"""SQL of the files that belong to messages and to deliveries."""

from collections.abc import Sequence
from sqlite3 import Connection

from salver_server.ids import DeliveryId, FileId, MessageId, SessionId
from salver_server.messages import File

COLUMNS = "id, name, type, size FROM attachments"


def attach(
    conn: Connection,
    files: Sequence[File],
    *,
    message: MessageId | None = None,
    delivery: DeliveryId | None = None,
) -> None:
    """Say that these files, in this order, belong to the one of both that is named."""
    conn.executemany(
        "INSERT INTO attachments (id, message, delivery, number, name, type, size) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (file.id, message, delivery, number, file.name, file.type, file.size)
            for number, file in enumerate(files, 1)
        ],
    )


def of_message(conn: Connection, message: MessageId) -> tuple[File, ...]:
    rows = conn.execute(f"SELECT {COLUMNS} WHERE message = ? ORDER BY number", (message,))
    return tuple(_file(row) for row in rows)


def of_delivery(conn: Connection, delivery: DeliveryId) -> tuple[File, ...]:
    rows = conn.execute(f"SELECT {COLUMNS} WHERE delivery = ? ORDER BY number", (delivery,))
    return tuple(_file(row) for row in rows)


def owner(conn: Connection, id_: FileId) -> tuple[File, MessageId | None, DeliveryId | None] | None:
    """A file, and the message or the delivery that it belongs to."""
    row = conn.execute(
        "SELECT id, name, type, size, message, delivery FROM attachments WHERE id = ?", (id_,)
    ).fetchone()
    return (_file(row[:4]), row[4], row[5]) if row else None


def taken(conn: Connection, files: Sequence[FileId]) -> FileId | None:
    """The first of these uploads that belongs to a message already."""
    return next((id_ for id_ in files if owner(conn, id_) is not None), None)


LEAST = 4096
"""Bytes that any file counts for at least: empty ones fill a disk, too."""


def sent_by(conn: Connection, session: SessionId) -> int:
    """Bytes of all the files that a session has sent."""
    return conn.execute(
        "SELECT coalesce(sum(max(a.size, ?)), 0) FROM deliveries d JOIN attachments a ON a.delivery = d.id"
        " WHERE d.session = ?",
        (LEAST, session),
    ).fetchone()[0]


def is_known(conn: Connection, folder: str) -> bool:
    """Whether a message or a delivery of this name has files."""
    return (
        conn.execute(
            "SELECT 1 FROM attachments WHERE message = ? UNION ALL"
            " SELECT 1 FROM attachments WHERE delivery = ? LIMIT 1",
            (folder, folder),
        ).fetchone()
        is not None
    )


def _file(row: tuple[FileId, str, str, int]) -> File:
    return File(id=row[0], name=row[1], type=row[2], size=row[3])
