CREATE TABLE attachments (
    id       TEXT PRIMARY KEY,
    message  TEXT REFERENCES intake (id),       -- it lies in intake/<message>/<name>
    delivery TEXT REFERENCES deliveries (id),   -- it lies in outgoing/<delivery>/<name>
    number   INTEGER NOT NULL,                  -- its place among the files of both
    name     TEXT    NOT NULL,
    type     TEXT    NOT NULL,                  -- by what is inside
    size     INTEGER NOT NULL,
    CHECK ((message IS NULL) <> (delivery IS NULL))
) STRICT;
CREATE INDEX attachments_message ON attachments (message, number) WHERE message IS NOT NULL;
CREATE INDEX attachments_delivery ON attachments (delivery, number) WHERE delivery IS NOT NULL;
