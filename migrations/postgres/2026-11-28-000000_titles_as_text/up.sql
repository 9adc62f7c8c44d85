-- Postgres takes every character for what it is: nothing to do.
SELECT 1;
