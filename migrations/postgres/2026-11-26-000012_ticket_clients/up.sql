-- Nobody may hold one of the tables and wait for another meanwhile; see lock_to_migrate.
SELECT lock_to_migrate('tickets');

-- A ticket is for the client that used it first. What is kept of the client is a digest, made with the ticket's secret, so that no
-- address can be found out from it.
ALTER TABLE tickets ADD COLUMN client TEXT;

-- The tickets of a token are counted when it makes another one.
CREATE INDEX tickets_token ON tickets (token_id);
