-- The outbox: messages that a relay is to publish. Moments are milliseconds since 1970, by the database's clock.
CREATE FUNCTION saga_outbox_now() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Of one lane (a topic and key) the lowest number comes first. A published row is gone. free_at says until when a claim holds it, or when it
-- is tried again; a refused row holds its lane.
CREATE TABLE saga_outbox (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL,
    topic text NOT NULL,
    key text,
    lane text COLLATE "C" NOT NULL,
    headers text NOT NULL,
    payload bytea NOT NULL,
    at bigint NOT NULL,
    attempts bigint NOT NULL DEFAULT 0,
    claim text,
    free_at bigint NOT NULL DEFAULT 0,
    refused_at bigint,
    error text
) WITH (fillfactor = 75);
CREATE UNIQUE INDEX saga_outbox_lane ON saga_outbox (lane, no);
CREATE INDEX saga_outbox_refused ON saga_outbox (no) WHERE refused_at IS NOT NULL;

-- For people.
CREATE VIEW saga_outbox_overview AS
SELECT no, id, topic, key, CASE WHEN refused_at IS NULL THEN 'waiting' ELSE 'refused' END AS state,
       to_timestamp(at / 1000.0) AS at, attempts, error, headers, encode(payload, 'escape') AS payload
FROM saga_outbox;
