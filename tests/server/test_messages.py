from typing import get_args

from salver_server.messages import OPEN, DeliveryState, HandoverState, MessageKind
from salver_server.store import Database


async def test_the_database_knows_the_same_states_and_kinds(database: Database) -> None:
    tables = await database.read(
        lambda conn: dict(conn.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'"))
    )
    for table, words in (
        ("intake", get_args(MessageKind)),
        ("handovers", get_args(HandoverState)),
        ("deliveries", get_args(DeliveryState)),
    ):
        listed = ", ".join(f"'{word}'" for word in words)
        assert f"IN ({listed})" in tables[table].replace("\n             ", " "), table


def test_what_is_still_owed_has_not_ended() -> None:
    ended = set(get_args(HandoverState)) - set(OPEN)
    assert ended == {"answered", "failed", "stopped", "cancelled", "done"}
