-- Rows of the last day stay: the version before reads them.
SELECT 1;
