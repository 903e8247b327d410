"""salver.db: one file, one writer, numbered forward migrations."""

from salver_server.store.database import Database, open_database

__all__ = ["Database", "open_database"]
