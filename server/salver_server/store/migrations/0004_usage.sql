CREATE TABLE model_calls (
    id              INTEGER PRIMARY KEY,
    session         TEXT    NOT NULL,
    agent           TEXT    NOT NULL,
    turn            INTEGER NOT NULL,     -- as the runner says; 0 where it says nothing
    provider        TEXT    NOT NULL,
    model           TEXT    NOT NULL,
    day             TEXT    NOT NULL,     -- YYYY-MM-DD by the computer's own zone when it began
    began_at        TEXT    NOT NULL,
    ended_at        TEXT,                 -- NULL while it is under way
    status          INTEGER,              -- of HTTP; NULL while it is under way, and where its end was lost
    input           INTEGER,              -- tokens; NULL where the vendor told none
    output          INTEGER,
    cache_read      INTEGER,              -- of the input
    cache_write     INTEGER,              -- of the input
    reserved        INTEGER,              -- millionths of a dollar that it may cost; NULL where no budget binds
    reserved_tokens INTEGER,              -- the same in tokens
    cost            INTEGER,              -- millionths of a dollar; NULL where it is not known
    price_date      TEXT                  -- of the price that it was counted by
) STRICT;
CREATE INDEX model_calls_open ON model_calls (day) WHERE ended_at IS NULL;
CREATE INDEX model_calls_turn ON model_calls (session, turn);
CREATE INDEX model_calls_began ON model_calls (began_at);

-- Sums of the calls that have ended; they stay when the calls are forgotten.
CREATE TABLE usage_days (
    day         TEXT    NOT NULL,
    session     TEXT    NOT NULL,
    agent       TEXT    NOT NULL,
    provider    TEXT    NOT NULL,
    model       TEXT    NOT NULL,
    calls       INTEGER NOT NULL,
    failed      INTEGER NOT NULL,         -- calls that the vendor did not answer
    untold      INTEGER NOT NULL,         -- calls whose tokens nobody told: cut off, or lost with the server
    unpriced    INTEGER NOT NULL,         -- calls whose cost is not known
    input       INTEGER NOT NULL,
    output      INTEGER NOT NULL,
    cache_read  INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    assumed     INTEGER NOT NULL,         -- tokens of untold calls, as they were reserved
    cost        INTEGER NOT NULL,         -- millionths of a dollar
    PRIMARY KEY (day, session, provider, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_days_session ON usage_days (session);
