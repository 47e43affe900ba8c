-- Leases that users take on keys. Moments are milliseconds since 1970, by the database's clock.
CREATE FUNCTION saga_leases_now() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Every lease's number, over all keys: it grows even where a row was dropped meanwhile.
CREATE SEQUENCE saga_leases_fencing;

CREATE TABLE saga_leases (
    key text COLLATE "C" PRIMARY KEY,
    fencing bigint NOT NULL,
    holder text NOT NULL,
    until bigint NOT NULL
) WITH (fillfactor = 75);
CREATE INDEX saga_leases_until ON saga_leases USING brin (until) WITH (autosummarize = on);
