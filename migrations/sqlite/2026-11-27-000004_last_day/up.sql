-- SQLite takes the last day already: nothing to do.
SELECT 1;
