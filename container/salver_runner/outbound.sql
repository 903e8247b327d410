-- outbound.db: written by one runner at a time, read by the server. Rows are never changed or removed.
CREATE TABLE owner (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      INTEGER NOT NULL,
    generation INTEGER NOT NULL
) STRICT;

CREATE TABLE log (
    seq     INTEGER PRIMARY KEY,
    turn    INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('claim', 'release', 'ack', 'reply', 'send', 'tool', 'continuation', 'context')),
    message INTEGER,
    at      TEXT    NOT NULL,
    body    TEXT    NOT NULL
) STRICT;
