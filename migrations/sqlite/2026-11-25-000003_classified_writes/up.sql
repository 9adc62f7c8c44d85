-- SQLite runs in the process of the server, and its messages are not translated: nothing to do.
SELECT 1;
