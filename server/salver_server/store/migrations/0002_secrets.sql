CREATE TABLE secrets (
    name        TEXT PRIMARY KEY,
    key_version TEXT NOT NULL,    -- the master key it is sealed with, by the name derived from it
    nonce       BLOB NOT NULL CHECK (length(nonce) = 12),
    ciphertext  BLOB NOT NULL,    -- AES-256-GCM; name and key version are its associated data
    created_at  TEXT NOT NULL,
    changed_at  TEXT NOT NULL
) STRICT;

CREATE TABLE secret_uses (
    position INTEGER PRIMARY KEY,
    secret   TEXT NOT NULL,       -- by name: what was used is still to be read when the secret is gone
    at       TEXT NOT NULL,
    session  TEXT,                -- NULL for what the house itself does
    purpose  TEXT NOT NULL
) STRICT;
CREATE INDEX secret_uses_at ON secret_uses (at);
CREATE INDEX secret_uses_secret ON secret_uses (secret, position);
