CREATE TABLE consents (
    agent TEXT PRIMARY KEY REFERENCES agents (name),
    what  TEXT NOT NULL,          -- JSON of what its AGENT.md asked for beyond the sandbox, to the letter
    at    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
