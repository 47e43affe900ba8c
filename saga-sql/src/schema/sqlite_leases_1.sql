-- Leases that users take on keys. Moments are milliseconds since 1970.
CREATE TABLE saga_leases (
    key TEXT PRIMARY KEY,
    fencing INTEGER NOT NULL,
    holder TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX saga_leases_until ON saga_leases (until);

-- Every lease's number, over all keys: it grows even where a row was dropped meanwhile. One row.
CREATE TABLE saga_leases_fencing (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO saga_leases_fencing VALUES (1, 0);
