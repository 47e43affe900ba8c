-- The saga log. Moments are milliseconds since 1970; the views show them as text.
CREATE TABLE saga_log_definitions (
    no INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    UNIQUE (name, version, digest)
) STRICT;

-- A coordinator holds one; a saga names its owner by the epoch, which is never given twice.
CREATE TABLE saga_log_leases (
    epoch INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT;
CREATE INDEX saga_log_leases_owner ON saga_log_leases (owner);

-- One row a saga. Once it is settled, only its tombstone is left: settled_at, input_digest and cause are set, and it has no definition.
-- line_at is never later than wake_at: a saga that is put off is filed anew when its line comes up.
CREATE TABLE saga_log (
    no INTEGER PRIMARY KEY,
    saga TEXT NOT NULL,
    id TEXT NOT NULL,
    run TEXT NOT NULL,
    status TEXT NOT NULL,
    definition INTEGER, -- saga_log_definitions.no
    version INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    wake_at INTEGER,
    line_at INTEGER,
    owner INTEGER NOT NULL,
    settled_at INTEGER,
    input_digest TEXT,
    cause TEXT,
    UNIQUE (saga, id)
) STRICT;
CREATE INDEX saga_log_due ON saga_log (definition, owner, line_at) WHERE definition IS NOT NULL;
CREATE INDEX saga_log_settled ON saga_log (settled_at) WHERE settled_at IS NOT NULL;

-- One row an append: a JSON array of entries. place is the saga's number times 1048576 plus the number of the first entry.
CREATE TABLE saga_log_entries (
    place INTEGER PRIMARY KEY,
    saga INTEGER GENERATED ALWAYS AS (place >> 20) VIRTUAL,
    seq INTEGER GENERATED ALWAYS AS (place & 1048575) VIRTUAL,
    format INTEGER NOT NULL,
    entries TEXT NOT NULL
) STRICT;

-- For people: a line a saga.
CREATE VIEW saga_log_overview AS
SELECT s.saga, s.id, s.run, s.status, d.version AS definition_version, d.digest AS definition_digest, s.version AS entries,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.changed_at / 1000.0, 'unixepoch') AS changed_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.wake_at / 1000.0, 'unixepoch') AS wake_at,
       l.owner, s.owner AS epoch, s.cause
FROM saga_log s
LEFT JOIN saga_log_definitions d ON d.no = s.definition
LEFT JOIN saga_log_leases l ON l.epoch = s.owner;

-- For people: a line an entry.
CREATE VIEW saga_log_history AS
SELECT s.saga, s.id, s.run, e.seq + j.key AS number,
       strftime('%Y-%m-%dT%H:%M:%fZ', (j.value ->> 'at') / 1000.0, 'unixepoch') AS at,
       j.value ->> 'fact' AS fact, j.value AS entry
FROM saga_log s
JOIN saga_log_entries e ON e.place BETWEEN s.no << 20 AND (s.no << 20) + 1048575
JOIN json_each(e.entries) j;
