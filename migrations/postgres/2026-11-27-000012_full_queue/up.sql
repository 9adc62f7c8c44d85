-- A commit does not fail when the queue of NOTIFY is full, and a TRUNCATE that names the table transactions fails with a sentence.

SELECT lock_to_migrate('topics', 'transactions');

-- As before, but for that.
CREATE OR REPLACE FUNCTION transaction_stamped() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    -- Stamping that many takes some hundredths of a second.
    bulk CONSTANT INTEGER := 2000;
    is_bulk BOOLEAN;
    wanted BIGINT;
    updated BIGINT;
    drawn BIGINT;
    largest BIGINT;
    kept BIGINT;
    logged BIGINT[];
    level TEXT;
BEGIN
    IF TG_RELID <> 'transactions'::regclass THEN RAISE EXCEPTION 'transaction_stamped() is for the table transactions'; END IF;
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'the table transactions cannot be truncated: it says what this COMMIT has to stamp'
            USING ERRCODE = 'feature_not_supported', HINT = 'Leave it out. It is empty outside of transactions.';
    END IF;
    -- One that stamp_last() has put behind others.
    IF NOT EXISTS (SELECT FROM transactions WHERE writer = NEW.writer AND proof = NEW.proof) THEN RETURN NULL; END IF;
    PERFORM set_config('kairanban.stamping', format('%s %s', pg_trigger_depth() + 1, NEW.proof), true);
    IF current_setting('kairanban.ids_jumped', true) = 'on' THEN
        SELECT max(topic_id) INTO largest FROM changes WHERE writer = NEW.writer AND revision IS NULL AND kind = 'set'
            AND topic_id <= coalesce(pg_sequence_last_value('topics_id_seq'), 0) + 4294967296;
    END IF;
    SELECT count(*) > bulk, count(DISTINCT topic_id) FILTER (WHERE kind = 'set') INTO is_bulk, wanted
        FROM (SELECT kind, topic_id FROM changes WHERE writer = NEW.writer AND revision IS NULL AND kind IN ('set', 'delete')
              LIMIT bulk + 1) AS counted;
    -- Held from here to the end of the commit.
    IF NOT is_bulk THEN LOCK TABLE commit_order IN SHARE UPDATE EXCLUSIVE MODE; END IF;
    drawn := nextval('revision_seq');
    UPDATE topics t SET revision = drawn FROM changes c
        WHERE c.writer = NEW.writer AND c.revision IS NULL AND c.kind = 'set' AND t.id = c.topic_id AND t.board_id = c.board_id;
    GET DIAGNOSTICS updated = ROW_COUNT;
    -- Of those that are missing, some may be gone.
    IF is_bulk OR updated < wanted THEN
        SELECT t.id INTO kept FROM topics t JOIN changes c ON t.id = c.topic_id AND t.board_id = c.board_id
            WHERE c.writer = NEW.writer AND c.revision IS NULL AND c.kind = 'set' AND t.revision <> drawn LIMIT 1;
    END IF;
    IF kept IS NOT NULL THEN
        RAISE EXCEPTION 'topic % keeps its old revision, because of a trigger of the table topics: %', kept,
            (SELECT coalesce(string_agg(quote_ident(tgname), ', ' ORDER BY tgname), 'unknown') FROM pg_trigger
                WHERE tgrelid = 'topics'::regclass AND tgtype & 19 = 19 -- BEFORE UPDATE, for each row
                AND tgenabled <> 'D' AND tgname NOT IN ('topics_before_update', '~topics_stamped'))
            USING HINT = 'Let the trigger pass an UPDATE that changes the revision alone.';
    END IF;
    IF is_bulk THEN
        WITH gone AS (DELETE FROM changes WHERE writer = NEW.writer AND revision IS NULL AND kind IN ('set', 'delete') RETURNING board_id)
            INSERT INTO changes (kind, board_id, stamped_as) SELECT DISTINCT 'clear', board_id, drawn FROM gone;
        -- By their keys: in the other index lie all that are gone.
        logged := ARRAY(SELECT id FROM changes WHERE writer = NEW.writer AND revision IS NULL);
        LOCK TABLE commit_order IN SHARE UPDATE EXCLUSIVE MODE;
        drawn := nextval('revision_seq');
        UPDATE changes SET revision = drawn, at = clock_timestamp() WHERE id = ANY (logged);
    ELSE
        UPDATE changes SET revision = drawn, at = clock_timestamp() WHERE writer = NEW.writer AND revision IS NULL;
    END IF;
    IF largest IS NOT NULL THEN PERFORM move_ids('topics_id_seq', largest); END IF;
    DELETE FROM transactions WHERE writer = NEW.writer;
    PERFORM set_config('kairanban.stamping', '', true);
    PERFORM set_config('kairanban.revision', drawn::text, true);
    -- NOTIFY makes a commit wait for every other one that notifies, so our own writers ask for silence and send one signal
    -- after the commit. It also makes PREPARE TRANSACTION fail, which would hold the lock for as long as it pleases.
    IF current_setting('kairanban.quiet', true) = 'on' THEN
        IF asked_by_server() THEN RETURN NULL; END IF;
    END IF;
    -- Any role can fill the queue: it listens, and leaves a transaction open. At a full one each commit that notifies fails. Servers
    -- poll, too; and who has touched pg_temp cannot be prepared either.
    IF pg_notification_queue_usage() > 0.5 AND has_database_privilege(current_database(), 'TEMPORARY') THEN
        level := current_setting('client_min_messages');
        PERFORM set_config('client_min_messages', 'warning', true);
        CREATE TEMPORARY TABLE IF NOT EXISTS kairanban_not_prepared ();
        PERFORM set_config('client_min_messages', level, true);
    ELSE
        PERFORM pg_notify(channel_name(TG_TABLE_SCHEMA), '');
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER transactions_truncated BEFORE TRUNCATE ON transactions FOR EACH STATEMENT EXECUTE FUNCTION transaction_stamped();
ALTER TABLE transactions ENABLE ALWAYS TRIGGER transactions_truncated;

DO $$
BEGIN
    -- What is replaced forgets its settings.
    EXECUTE format('ALTER FUNCTION transaction_stamped() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    REVOKE EXECUTE ON FUNCTION transaction_stamped() FROM PUBLIC;
END $$;
