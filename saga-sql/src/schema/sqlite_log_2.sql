-- What a definition looks like, as JSON: for tools that show sagas and have not the definition itself.
ALTER TABLE saga_log_definitions ADD COLUMN outline TEXT;

-- What operators did, as entries of the sagas' records, which are pruned before. It stays until somebody deletes it.
CREATE TABLE saga_log_audit (
    no INTEGER PRIMARY KEY,
    saga TEXT NOT NULL,
    id TEXT NOT NULL,
    run TEXT NOT NULL,
    definition INTEGER NOT NULL, -- saga_log_definitions.no
    format INTEGER NOT NULL,
    entry TEXT NOT NULL
) STRICT;
CREATE INDEX saga_log_audit_of ON saga_log_audit (saga, id);
