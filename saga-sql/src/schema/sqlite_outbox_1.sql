-- The outbox: messages that a relay is to publish. Moments are milliseconds since 1970.
-- Of one lane (a topic and key) the lowest number comes first. A published row is gone. free_at says until when a claim holds it, or when it
-- is tried again; a refused row holds its lane.
CREATE TABLE saga_outbox (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    topic TEXT NOT NULL,
    key TEXT,
    lane TEXT NOT NULL,
    headers TEXT NOT NULL,
    payload BLOB NOT NULL,
    at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    claim TEXT,
    free_at INTEGER NOT NULL DEFAULT 0,
    refused_at INTEGER,
    error TEXT
) STRICT;
CREATE UNIQUE INDEX saga_outbox_lane ON saga_outbox (lane, no);
CREATE INDEX saga_outbox_refused ON saga_outbox (no) WHERE refused_at IS NOT NULL;

-- For people.
CREATE VIEW saga_outbox_overview AS
SELECT no, id, topic, key, CASE WHEN refused_at IS NULL THEN 'waiting' ELSE 'refused' END AS state,
       strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS at, attempts, error, headers,
       CAST(payload AS TEXT) AS payload
FROM saga_outbox;
