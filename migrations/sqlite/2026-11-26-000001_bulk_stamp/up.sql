-- SQLite has no stamp at COMMIT: nothing to do.
SELECT 1;
