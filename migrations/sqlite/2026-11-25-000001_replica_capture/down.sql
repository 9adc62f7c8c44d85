-- Postgres has a way of writing that fires other triggers, for replication; SQLite has none.
SELECT 1;
