-- The saga log. Moments are milliseconds since 1970, by the database's clock; the views show them as text.
CREATE FUNCTION saga_log_now() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

CREATE TABLE saga_log_definitions (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    digest text COLLATE "C" NOT NULL,
    UNIQUE (name, version, digest)
);

-- A coordinator holds one; a saga names its owner by the epoch, which is never given twice.
CREATE TABLE saga_log_leases (
    epoch bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner text COLLATE "C" NOT NULL,
    until bigint NOT NULL
);
CREATE INDEX saga_log_leases_owner ON saga_log_leases (owner);

-- One row a saga. Once it is settled, only its tombstone is left: settled_at, input_digest and cause are set, and it has no definition.
-- line_at is never later than wake_at: a saga that is put off is filed anew when its line comes up, so that most updates touch no index.
CREATE TABLE saga_log (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    saga text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    definition bigint,
    version bigint NOT NULL,
    changed_at bigint NOT NULL,
    wake_at bigint,
    line_at bigint,
    owner bigint NOT NULL,
    settled_at bigint,
    input_digest text,
    cause text,
    UNIQUE (saga, id)
) WITH (fillfactor = 75);
CREATE INDEX saga_log_due ON saga_log (definition, owner, line_at) WHERE definition IS NOT NULL;
CREATE INDEX saga_log_settled ON saga_log (settled_at) WHERE settled_at IS NOT NULL;

-- One row an append: a JSON array of entries; seq is the number of the first.
CREATE TABLE saga_log_entries (
    saga bigint NOT NULL,
    seq bigint NOT NULL,
    format bigint NOT NULL,
    entries text NOT NULL,
    PRIMARY KEY (saga, seq)
);

-- For people: a line a saga.
CREATE VIEW saga_log_overview AS
SELECT s.saga, s.id, s.run, s.status, d.version AS definition_version, d.digest AS definition_digest, s.version AS entries,
       to_timestamp(s.changed_at / 1000.0) AS changed_at,
       CASE WHEN s.wake_at < 253402300799000 THEN to_timestamp(s.wake_at / 1000.0) END AS wake_at,
       l.owner, s.owner AS epoch, s.cause
FROM saga_log s
LEFT JOIN saga_log_definitions d ON d.no = s.definition
LEFT JOIN saga_log_leases l ON l.epoch = s.owner;

-- For people: a line an entry.
CREATE VIEW saga_log_history AS
SELECT s.saga, s.id, s.run, e.seq + j.number - 1 AS number,
       to_timestamp((j.entry ->> 'at')::numeric / 1000) AS at,
       j.entry ->> 'fact' AS fact, j.entry
FROM saga_log s
JOIN saga_log_entries e ON e.saga = s.no
CROSS JOIN LATERAL json_array_elements(e.entries::json) WITH ORDINALITY AS j (entry, number);
