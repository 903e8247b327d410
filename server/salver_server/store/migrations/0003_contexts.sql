CREATE TABLE contexts (
    session     TEXT    NOT NULL REFERENCES sessions (id),
    epoch       INTEGER NOT NULL,
    seq         INTEGER NOT NULL,   -- of the outbound row
    turn        INTEGER NOT NULL,
    model       TEXT    NOT NULL,
    size        INTEGER NOT NULL,   -- tokens that the model takes; 0 where nobody knows
    used        INTEGER NOT NULL,   -- tokens of the turn's last request, as far as they are known
    compacted   INTEGER NOT NULL CHECK (compacted IN (0, 1)),
    parts       TEXT    NOT NULL,   -- JSON list of {part, characters, tokens, count}
    messages    TEXT    NOT NULL,   -- JSON list of the numbers that the turn took up
    recorded_at TEXT    NOT NULL,
    PRIMARY KEY (session, epoch, seq)
) STRICT;
CREATE INDEX contexts_session ON contexts (session);

CREATE TABLE base (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    text      TEXT NOT NULL,        -- the last BASE.md that could be used
    problem   TEXT NOT NULL         -- why the file as it lies there cannot be; empty if it can
) STRICT;
