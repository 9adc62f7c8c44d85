-- SQLite has no functions: nothing to do.
SELECT 1;
