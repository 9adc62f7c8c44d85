-- The newest entries of each actor stay.
CREATE INDEX audit_actor ON audit (token_id, id);
