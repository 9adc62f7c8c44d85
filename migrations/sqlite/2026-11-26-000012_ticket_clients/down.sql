DROP INDEX tickets_token;
ALTER TABLE tickets DROP COLUMN client;
