-- What a definition looks like, as JSON: for tools that show sagas and have not the definition itself.
ALTER TABLE saga_log_definitions ADD COLUMN outline text;
