SELECT lock_to_migrate('tokens', 'tickets, browser_sessions');
ALTER TABLE tickets DROP COLUMN session_id;
DROP TABLE browser_sessions;
DROP FUNCTION browser_sessions_changed();
