-- SQLite notifies nobody at COMMIT: nothing to do.
SELECT 1;
