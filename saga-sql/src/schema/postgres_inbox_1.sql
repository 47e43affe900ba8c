-- The barrier: one row for each step of a run. state is the row as JSON; the rest is for looking and pruning.
-- Moments are milliseconds since 1970, by the database's clock.
CREATE FUNCTION saga_inbox_now() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

CREATE TABLE saga_inbox (
    run text COLLATE "C" NOT NULL,
    step text COLLATE "C" NOT NULL,
    format bigint NOT NULL,
    state text NOT NULL,
    held_until bigint,
    changed_at bigint NOT NULL,
    PRIMARY KEY (run, step)
) WITH (fillfactor = 75);
-- Summarized as rows come, and not only when the table is vacuumed: until then whoever prunes reads them all.
CREATE INDEX saga_inbox_changed ON saga_inbox USING brin (changed_at) WITH (autosummarize = on);

-- Since when no row is missing. One row.
CREATE TABLE saga_inbox_horizon (
    one bigint PRIMARY KEY CHECK (one = 1),
    at bigint NOT NULL
);
INSERT INTO saga_inbox_horizon VALUES (1, saga_inbox_now());
