-- In a schema whose name is not plain lower case, as "A", the migrations before looked for its functions and constraints in the
-- schema a: its functions stayed open to every role, and without a search_path of their own. They are closed and pinned again, and
-- times are taken to the end of the last day.

-- The channel on which commits are announced. Its name has at most 63 bytes, as that of a schema.
CREATE FUNCTION channel_name(place name) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'kairanban_' || CASE WHEN octet_length(place::text) > 53 THEN md5(place::text) ELSE place::text END;
$$;

DO $$
DECLARE
    -- As the migrations before have it, whichever made it last.
    found CONSTANT TEXT := pg_get_functiondef('transaction_stamped()'::regprocedure);
    stamped CONSTANT TEXT := replace(found, 'format(''kairanban_%s'', TG_TABLE_SCHEMA)', 'channel_name(TG_TABLE_SCHEMA)');
BEGIN
    IF found = stamped THEN RAISE EXCEPTION 'transaction_stamped() is not as the migrations made it'; END IF;
    EXECUTE stamped;
END $$;

DO $$
DECLARE
    f regprocedure;
    c RECORD;
    is_locked BOOLEAN := false;
BEGIN
    FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
        AND p.proname IN ('asked_by_server', 'boards_before', 'boards_changed', 'boards_named', 'boards_truncated', 'channel_name',
                          'lock_to_migrate',
                          'move_ids', 'move_topic_ids', 'stamp_depth', 'stamp_last', 'take_id', 'tokens_before', 'tokens_changed',
                          'topics_applied', 'topics_before', 'topics_deleted', 'topics_inserted', 'topics_stamped', 'topics_truncated',
                          'topics_updated', 'transaction_begun', 'transaction_stamped')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', f, current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
    -- This one runs what its caller may run, by the caller's path.
    REVOKE EXECUTE ON FUNCTION classified_write(text, jsonb) FROM PUBLIC;

    FOR c IN SELECT conrelid::regclass AS tbl, conname, attname FROM pg_constraint
        JOIN pg_attribute ON attrelid = conrelid AND conkey = ARRAY[attnum]
        JOIN pg_class ON pg_class.oid = conrelid
        WHERE relnamespace = quote_ident(current_schema())::regnamespace AND contype = 'c' AND atttypid = 'timestamptz'::regtype
            AND relname IN ('boards', 'topics', 'tokens', 'idempotency', 'tickets', 'audit', 'deleted_topics')
            AND conname = relname || '_' || attname || '_range'
            AND pg_get_constraintdef(pg_constraint.oid) NOT LIKE '%10000-01-01%'
    LOOP
        IF NOT is_locked THEN
            PERFORM lock_to_migrate('topics', 'boards, tokens, idempotency, tickets, audit, deleted_topics');
            is_locked := true;
        END IF;
        EXECUTE format('ALTER TABLE %1$s DROP CONSTRAINT %2$I, ADD CONSTRAINT %2$I
            CHECK (%3$I >= ''0001-01-01 00:00:00+00'' AND %3$I < ''10000-01-01 00:00:00+00'')', c.tbl, c.conname, c.attname);
    END LOOP;
END $$;
