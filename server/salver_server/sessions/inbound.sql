-- inbound.db: written by the server, seen read-only by the runner.
CREATE TABLE messages (
    seq     INTEGER PRIMARY KEY,
    id      TEXT    NOT NULL UNIQUE,
    kind    TEXT    NOT NULL CHECK (kind IN ('message', 'note', 'cancel', 'stop')),
    target  INTEGER,
    sender  TEXT    NOT NULL,
    sent_at TEXT    NOT NULL,
    text    TEXT    NOT NULL,
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
