-- What a definition looks like, as JSON: for tools that show sagas and have not the definition itself.
ALTER TABLE saga_log_definitions ADD COLUMN outline text;

-- What operators did, as entries of the sagas' records, which are pruned before. It stays until somebody deletes it.
CREATE TABLE saga_log_audit (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    saga text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL,
    definition bigint NOT NULL,
    format bigint NOT NULL,
    entry text NOT NULL
);
CREATE INDEX saga_log_audit_of ON saga_log_audit (saga, id);
