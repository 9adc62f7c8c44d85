-- What is closed and pinned stays so.
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('transaction_stamped()'::regprocedure),
        'channel_name(TG_TABLE_SCHEMA)', 'format(''kairanban_%s'', TG_TABLE_SCHEMA)');
END $$;
DROP FUNCTION channel_name(name);
