CREATE OR REPLACE FUNCTION transaction_stamped() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    drawn BIGINT;
BEGIN
    IF TG_RELID <> 'transactions'::regclass THEN RAISE EXCEPTION 'transaction_stamped() is for the table transactions'; END IF;
    -- Held from here to the end of the commit.
    LOCK TABLE commit_order IN SHARE UPDATE EXCLUSIVE MODE;
    drawn := nextval('revision_seq');
    IF current_setting('kairanban.ids_jumped', true) = 'on' THEN
        PERFORM move_ids('topics_id_seq', max(topic_id)) FROM changes WHERE writer = NEW.writer AND revision IS NULL AND kind = 'set'
            AND topic_id <= coalesce(pg_sequence_last_value('topics_id_seq'), 0) + 4294967296;
    END IF;
    PERFORM set_config('kairanban.stamping', NEW.proof::text, true);
    UPDATE topics t SET revision = drawn FROM changes c
        WHERE c.writer = NEW.writer AND c.revision IS NULL AND c.kind = 'set' AND t.id = c.topic_id AND t.board_id = c.board_id;
    UPDATE changes SET revision = drawn, at = clock_timestamp() WHERE writer = NEW.writer AND revision IS NULL;
    DELETE FROM transactions WHERE writer = NEW.writer;
    PERFORM set_config('kairanban.stamping', '', true);
    PERFORM set_config('kairanban.revision', drawn::text, true);
    -- NOTIFY makes a commit wait for every other one that notifies, so our own writers ask for silence and send one signal
    -- after the commit. It also makes PREPARE TRANSACTION fail, which would hold the lock for as long as it pleases.
    IF current_setting('kairanban.quiet', true) = 'on' THEN
        IF asked_by_server() THEN RETURN NULL; END IF;
    END IF;
    PERFORM pg_notify(format('kairanban_%s', TG_TABLE_SCHEMA), '');
    RETURN NULL;
END $$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION transaction_stamped() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END $$;
