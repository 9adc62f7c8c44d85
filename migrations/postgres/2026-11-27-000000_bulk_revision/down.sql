CREATE OR REPLACE FUNCTION transaction_stamped() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    -- Stamping that many takes some hundredths of a second.
    bulk CONSTANT INTEGER := 2000;
    drawn BIGINT;
    largest BIGINT;
    logged BIGINT[];
BEGIN
    IF TG_RELID <> 'transactions'::regclass THEN RAISE EXCEPTION 'transaction_stamped() is for the table transactions'; END IF;
    PERFORM set_config('kairanban.stamping', NEW.proof::text, true);
    IF current_setting('kairanban.ids_jumped', true) = 'on' THEN
        SELECT max(topic_id) INTO largest FROM changes WHERE writer = NEW.writer AND revision IS NULL AND kind = 'set'
            AND topic_id <= coalesce(pg_sequence_last_value('topics_id_seq'), 0) + 4294967296;
    END IF;
    IF (SELECT count(*) FROM (SELECT FROM changes WHERE writer = NEW.writer AND revision IS NULL AND kind IN ('set', 'delete')
                              LIMIT bulk + 1) AS counted) > bulk THEN
        drawn := nextval('revision_seq');
        UPDATE topics t SET revision = drawn FROM changes c
            WHERE c.writer = NEW.writer AND c.revision IS NULL AND c.kind = 'set' AND t.id = c.topic_id AND t.board_id = c.board_id;
        WITH gone AS (DELETE FROM changes WHERE writer = NEW.writer AND revision IS NULL AND kind IN ('set', 'delete') RETURNING board_id)
            INSERT INTO changes (kind, board_id) SELECT DISTINCT 'clear', board_id FROM gone;
        -- By their keys: in the other index lie all that are gone.
        logged := ARRAY(SELECT id FROM changes WHERE writer = NEW.writer AND revision IS NULL);
    END IF;
    -- Held from here to the end of the commit.
    LOCK TABLE commit_order IN SHARE UPDATE EXCLUSIVE MODE;
    drawn := nextval('revision_seq');
    IF largest IS NOT NULL THEN PERFORM move_ids('topics_id_seq', largest); END IF;
    IF logged IS NULL THEN
        UPDATE topics t SET revision = drawn FROM changes c
            WHERE c.writer = NEW.writer AND c.revision IS NULL AND c.kind = 'set' AND t.id = c.topic_id AND t.board_id = c.board_id;
        UPDATE changes SET revision = drawn, at = clock_timestamp() WHERE writer = NEW.writer AND revision IS NULL;
    ELSE
        UPDATE changes SET revision = drawn, at = clock_timestamp() WHERE id = ANY (logged);
    END IF;
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
    -- What is replaced forgets its settings.
    EXECUTE format('ALTER FUNCTION transaction_stamped() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %I.transaction_stamped() FROM PUBLIC', current_schema());
END $$;
DROP INDEX changes_bulk;
ALTER TABLE changes DROP COLUMN stamped_as;
