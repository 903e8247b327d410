-- What the server expects to find in outbound.db; a contract test holds it equal to what the runner writes.
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
