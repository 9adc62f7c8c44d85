-- Nobody may hold one of the tables and wait for another meanwhile; see lock_to_migrate.
SELECT lock_to_migrate('audit');

-- The newest entries of each actor stay.
CREATE INDEX audit_actor ON audit (token_id, id);
