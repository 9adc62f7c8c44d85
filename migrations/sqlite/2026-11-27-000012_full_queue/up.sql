-- SQLite notifies no server at COMMIT: nothing to do.
SELECT 1;
