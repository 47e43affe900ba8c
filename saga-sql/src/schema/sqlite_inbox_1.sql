-- The barrier: one row for each step of a run. state is the row as JSON; the rest is for looking and pruning.
CREATE TABLE saga_inbox (
    run TEXT NOT NULL,
    step TEXT NOT NULL,
    format INTEGER NOT NULL,
    state TEXT NOT NULL,
    held_until INTEGER,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;
CREATE INDEX saga_inbox_changed ON saga_inbox (changed_at);

-- Since when no row is missing. One row.
CREATE TABLE saga_inbox_horizon (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at INTEGER NOT NULL
) STRICT;
