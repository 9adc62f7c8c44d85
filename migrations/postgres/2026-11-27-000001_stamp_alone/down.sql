DROP TRIGGER "~topics_stamped" ON topics;
DROP FUNCTION topics_stamped();
CREATE OR REPLACE FUNCTION topics_before() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    applied CONSTANT BOOLEAN := current_setting('session_replication_role') = 'replica';
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_before() is for the table topics'; END IF;
    -- A NULL counts as not given. There is no OLD for a new row, and all of it is null.
    NEW.author := coalesce(NEW.author, OLD.author, '');
    NEW.archived := coalesce(NEW.archived, OLD.archived, false);
    IF TG_OP = 'INSERT' THEN
        NEW.created_at := coalesce(NEW.created_at, now());
        NEW.updated_at := coalesce(NEW.updated_at, now());
        -- A written revision is overwritten at COMMIT.
        NEW.revision := 0;
        IF NEW.board_id IS NULL THEN
            SELECT b.id INTO NEW.board_id FROM identity i JOIN boards b ON b.id::text = i.value WHERE i.key = 'default_board';
            IF NOT FOUND THEN
                RAISE EXCEPTION 'there is no default board to put the topic on: run kairanban migrate, or give a board_id'
                    USING ERRCODE = 'not_null_violation', TABLE = 'topics', COLUMN = 'board_id';
            END IF;
        END IF;
        IF NEW.id IS NULL THEN
            NEW.id := nextval('topics_id_seq');
        ELSIF NEW.id > coalesce(pg_sequence_last_value('topics_id_seq'), 0) THEN
            PERFORM take_id('topics_id_seq', NEW.id, 'topics');
        END IF;
        RETURN NEW;
    END IF;
    NEW.created_at := coalesce(NEW.created_at, OLD.created_at);
    NEW.updated_at := coalesce(NEW.updated_at, OLD.updated_at);
    NEW.revision := OLD.revision;
    IF NEW.id > OLD.id AND NEW.id > coalesce(pg_sequence_last_value('topics_id_seq'), 0) THEN
        PERFORM take_id('topics_id_seq', NEW.id, 'topics');
    END IF;
    -- A replica repeats what the other database has decided.
    IF NOT applied AND (NEW.comment, NEW.author) IS DISTINCT FROM (OLD.comment, OLD.author) THEN
        NEW.edited_at := clock_timestamp();
        -- A changed text moves `updated_at` unless the writer set it.
        IF NEW.updated_at = OLD.updated_at THEN NEW.updated_at := clock_timestamp(); END IF;
    ELSIF NOT applied THEN
        NEW.edited_at := OLD.edited_at;
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION topics_updated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    stamping CONSTANT TEXT := current_setting('kairanban.stamping', true);
    archiving CONSTANT BOOLEAN := current_setting('kairanban.archiving', true) = 'on' AND asked_by_server();
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_updated() is for the table topics'; END IF;
    IF stamping <> '' THEN
        IF stamping = (SELECT proof::text FROM transactions WHERE writer = pg_current_xact_id()) THEN RETURN NULL; END IF;
    END IF;
    INSERT INTO changes (kind, board_id, topic_id)
        SELECT 'delete', o.board_id, o.id FROM old_rows o
        WHERE NOT EXISTS (SELECT FROM new_rows n WHERE n.id = o.id AND n.board_id = o.board_id)
        ORDER BY o.id;
    INSERT INTO changes (kind, board_id, topic_id)
        SELECT CASE WHEN NOT n.archived THEN 'set' WHEN archiving THEN 'archive' ELSE 'delete' END, n.board_id, n.id
        FROM new_rows n LEFT JOIN old_rows o ON o.id = n.id
        WHERE (o.board_id, o.comment, o.author, o.created_at, o.updated_at, o.edited_at, o.archived)
            IS DISTINCT FROM (n.board_id, n.comment, n.author, n.created_at, n.updated_at, n.edited_at, n.archived)
        ORDER BY n.id;
    IF EXISTS (SELECT FROM changes WHERE writer = pg_current_xact_id() AND revision IS NULL) THEN
        PERFORM transaction_begun();
    END IF;
    RETURN NULL;
END $$;
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
            INSERT INTO changes (kind, board_id, stamped_as) SELECT DISTINCT 'clear', board_id, drawn FROM gone;
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
CREATE OR REPLACE FUNCTION classified_write(
    statement text, arguments jsonb,
    OUT touched bigint, OUT returned bigint, OUT state text, OUT message text
) LANGUAGE plpgsql SECURITY INVOKER AS $$
DECLARE
    list text := (
        SELECT coalesce('(' || pg_catalog.string_agg(pg_catalog.quote_nullable(value), ', ' ORDER BY ordinality) || ')', '')
        FROM pg_catalog.jsonb_array_elements_text(arguments) WITH ORDINALITY);
BEGIN
    BEGIN
        IF arguments IS NULL THEN
            EXECUTE statement;
        ELSE
            -- Parameters take their types from the statement, and no value becomes part of its text.
            EXECUTE 'PREPARE kairanban_write AS ' || statement;
            EXECUTE 'EXECUTE kairanban_write' || list INTO returned;
            GET DIAGNOSTICS touched = ROW_COUNT;
        END IF;
    EXCEPTION WHEN OTHERS OR assert_failure THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
    END;
    -- A prepared statement outlives the failure.
    IF EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE name = 'kairanban_write') THEN
        DEALLOCATE kairanban_write;
    END IF;
END $$;
DROP FUNCTION stamp_last();
DROP FUNCTION stamp_depth();
DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['topics_before', 'topics_updated', 'transaction_stamped'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = pg_catalog, %I, pg_temp', f, current_schema());
    END LOOP;
END $$;
