-- inbound.db: written by the server, seen read-only by the runner.
CREATE TABLE messages (
    seq     INTEGER PRIMARY KEY,
    id      TEXT    NOT NULL UNIQUE,
    kind    TEXT    NOT NULL CHECK (kind IN ('message', 'note', 'cancel', 'stop', 'clear', 'compact')),
    target  INTEGER,
    sender  TEXT    NOT NULL,
    sent_at TEXT    NOT NULL,
    text    TEXT    NOT NULL,
    quoted  TEXT    NOT NULL DEFAULT '',   -- JSON {sender, text} of what it answers, empty for nothing
    files   TEXT    NOT NULL DEFAULT '[]', -- JSON list of {name, type, size}, below in/files/<id>/
    tainted INTEGER NOT NULL CHECK (tainted IN (0, 1)),
    wakes   INTEGER NOT NULL CHECK (wakes IN (0, 1))
) STRICT;

CREATE TABLE settled (
    first INTEGER PRIMARY KEY,
    last  INTEGER NOT NULL
) STRICT;

CREATE TABLE history (
    seq      INTEGER PRIMARY KEY,
    provider TEXT    NOT NULL,
    body     TEXT    NOT NULL
) STRICT;
