DROP INDEX tickets_session;
ALTER TABLE tickets DROP COLUMN session_id;
DROP TABLE browser_sessions;
