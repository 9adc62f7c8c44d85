-- What is closed and pinned stays so.
SELECT 1;
