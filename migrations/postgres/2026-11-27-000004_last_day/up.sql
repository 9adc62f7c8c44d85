-- A time is from year 1 to 9999, to the end of its last day.
SELECT lock_to_migrate('topics', 'boards, tokens, idempotency, tickets, audit, deleted_topics');

DO $$
DECLARE
    c RECORD;
BEGIN
    FOR c IN SELECT conrelid::regclass AS tbl, conname, attname FROM pg_constraint
        JOIN pg_attribute ON attrelid = conrelid AND conkey = ARRAY[attnum]
        JOIN pg_class ON pg_class.oid = conrelid
        WHERE relnamespace = quote_ident(current_schema())::regnamespace AND contype = 'c' AND atttypid = 'timestamptz'::regtype
            AND relname IN ('boards', 'topics', 'tokens', 'idempotency', 'tickets', 'audit', 'deleted_topics')
            AND conname = relname || '_' || attname || '_range'
    LOOP
        EXECUTE format('ALTER TABLE %1$s DROP CONSTRAINT %2$I, ADD CONSTRAINT %2$I
            CHECK (%3$I >= ''0001-01-01 00:00:00+00'' AND %3$I < ''10000-01-01 00:00:00+00'')', c.tbl, c.conname, c.attname);
    END LOOP;
END $$;
