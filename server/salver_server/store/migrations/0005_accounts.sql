CREATE TABLE accounts (
    provider   TEXT    NOT NULL,
    agent      TEXT    NOT NULL,              -- empty: for every agent that has none of its own
    base_url   TEXT    NOT NULL,              -- empty: the provider's
    model      TEXT    NOT NULL,              -- empty: the provider's suggestion
    plain_http INTEGER NOT NULL CHECK (plain_http IN (0, 1)),
    keyed      INTEGER NOT NULL CHECK (keyed IN (0, 1)),   -- its secret was given for this very address
    preferred  INTEGER NOT NULL CHECK (preferred IN (0, 1)),
    created_at TEXT    NOT NULL,
    changed_at TEXT    NOT NULL,
    PRIMARY KEY (provider, agent)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX accounts_preferred ON accounts (preferred) WHERE preferred = 1;
