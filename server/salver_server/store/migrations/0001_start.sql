CREATE TABLE install (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    id         TEXT    NOT NULL,
    uid        INTEGER NOT NULL,   -- whom sandboxes run as
    gid        INTEGER NOT NULL,
    stopped_at TEXT                -- stop everything is a stored state; NULL runs
) STRICT;

CREATE TABLE agents (
    name      TEXT PRIMARY KEY,
    text      TEXT NOT NULL,       -- the last AGENT.md that could be used
    problem   TEXT NOT NULL,       -- why the file as it lies there cannot be; empty if it can
    loaded_at TEXT NOT NULL,
    removed_at TEXT                -- its sessions remain to be read; NULL while it serves
) STRICT;

CREATE TABLE chats (
    id         TEXT PRIMARY KEY,
    channel    TEXT NOT NULL,
    address    TEXT NOT NULL,
    title      TEXT NOT NULL,
    is_group   INTEGER NOT NULL CHECK (is_group IN (0, 1)),
    created_at TEXT NOT NULL,
    UNIQUE (channel, address)
) STRICT;

CREATE TABLE wirings (
    chat       TEXT NOT NULL REFERENCES chats (id),
    agent      TEXT NOT NULL REFERENCES agents (name),
    mode       TEXT NOT NULL CHECK (mode IN ('shared', 'per-thread', 'agent-shared')),
    engagement TEXT NOT NULL CHECK (engagement IN ('every-message')),
    PRIMARY KEY (chat, agent)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id          TEXT PRIMARY KEY,
    agent       TEXT NOT NULL REFERENCES agents (name),
    chat        TEXT REFERENCES chats (id),   -- NULL where all chats of the agent share it
    thread      TEXT,
    state       TEXT NOT NULL CHECK (state IN ('open', 'closed')),
    generation  INTEGER NOT NULL DEFAULT 0,
    epoch       INTEGER NOT NULL,             -- names the present outbound.db
    read_seq    INTEGER NOT NULL DEFAULT 0,   -- rows of it that are read
    next_seq    INTEGER NOT NULL DEFAULT 1,   -- the next message's number
    token_hash  BLOB,
    model       TEXT NOT NULL DEFAULT '',     -- chosen for this session; empty: as AGENT.md says
    trouble     TEXT NOT NULL DEFAULT '',     -- why it waits, for people; empty if nothing is wrong
    created_at  TEXT NOT NULL,
    active_at   TEXT NOT NULL
) STRICT;
-- NULL is a value of its own here: one open session per agent, chat and thread.
CREATE UNIQUE INDEX sessions_place ON sessions (agent, ifnull(chat, ''), ifnull(thread, '')) WHERE state = 'open';

CREATE INDEX sessions_active ON sessions (active_at);

CREATE TABLE sandboxes (
    session    TEXT PRIMARY KEY REFERENCES sessions (id),
    generation INTEGER NOT NULL,
    runtime    TEXT NOT NULL,
    handle     TEXT,                          -- NULL from before the start until the mark is known
    started_at TEXT NOT NULL
) STRICT;

CREATE TABLE intake (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('message', 'note', 'cancel', 'stop', 'clear', 'compact')),
    channel     TEXT NOT NULL,
    key         TEXT NOT NULL,                -- the platform's own, so that nothing is accepted twice
    chat        TEXT REFERENCES chats (id),
    thread      TEXT,
    sender      TEXT NOT NULL,
    text        TEXT NOT NULL,
    quoted      TEXT NOT NULL DEFAULT '',     -- JSON {sender, text} of what it answers; empty for nothing
    files       TEXT NOT NULL DEFAULT '[]',   -- JSON list of {name, type, size}, in the order given
    tainted     INTEGER NOT NULL DEFAULT 0 CHECK (tainted IN (0, 1)),
    sent_at     TEXT NOT NULL,
    accepted_at TEXT NOT NULL,
    UNIQUE (channel, key)
) STRICT;

CREATE TABLE handovers (
    session  TEXT    NOT NULL REFERENCES sessions (id),
    seq      INTEGER NOT NULL,
    message  TEXT    NOT NULL REFERENCES intake (id),
    target   INTEGER,                         -- the seq that a cancel means
    wakes    INTEGER NOT NULL CHECK (wakes IN (0, 1)),
    state    TEXT    NOT NULL CHECK (state IN
             ('received', 'held', 'queued', 'running', 'answered', 'failed', 'stopped', 'cancelled', 'done')),
    release  TEXT    CHECK (release IN ('free', 'person')), -- who ends the waiting of what was held; NULL: never was
    due_at   TEXT    NOT NULL,                -- empty: at once, wherever the wall clock is set meanwhile
    turn     INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,      -- claims seen, and starts that died
    reason   TEXT    NOT NULL DEFAULT '',
    delivery TEXT,                            -- what told the person: the reply, or the failure
    changed_at TEXT  NOT NULL,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX handovers_message ON handovers (message, session);
CREATE INDEX handovers_due ON handovers (due_at) WHERE state = 'received';
CREATE INDEX handovers_free ON handovers (session) WHERE state = 'held' AND release = 'free';
CREATE INDEX handovers_open ON handovers (session, seq) WHERE state IN ('received', 'held', 'queued', 'running');

CREATE TABLE continuations (
    session  TEXT    NOT NULL REFERENCES sessions (id),
    epoch    INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    provider TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    reset    INTEGER NOT NULL DEFAULT 0 CHECK (reset IN (0, 1)), -- the conversation begins anew with it
    PRIMARY KEY (session, epoch, seq)
) STRICT;

CREATE TABLE deliveries (
    position   INTEGER PRIMARY KEY,           -- order of arrival, over all chats
    id         TEXT NOT NULL UNIQUE,
    session    TEXT NOT NULL REFERENCES sessions (id),
    epoch      INTEGER NOT NULL,
    seq        INTEGER NOT NULL,              -- of the outbound row; below zero for what the server says
    chat       TEXT NOT NULL REFERENCES chats (id),
    thread     TEXT,
    kind       TEXT NOT NULL CHECK (kind IN ('reply', 'send', 'failure')),
    text       TEXT NOT NULL,
    answers    TEXT NOT NULL,                 -- JSON list of message ids
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'sending', 'delivered', 'perhaps', 'failed')),
    attempts   INTEGER NOT NULL DEFAULT 0,
    next_at    TEXT NOT NULL,                 -- empty: at once
    receipt    TEXT NOT NULL DEFAULT '',
    reason     TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    UNIQUE (session, epoch, seq)
) STRICT;
CREATE INDEX deliveries_open ON deliveries (chat, position) WHERE state IN ('waiting', 'sending');
CREATE INDEX deliveries_session ON deliveries (session, created_at);
