-- SQLite has no TRUNCATE: nothing to do.
SELECT 1;
