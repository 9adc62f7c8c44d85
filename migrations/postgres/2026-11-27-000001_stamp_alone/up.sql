-- The stamp gives topics their revision and nothing else, whatever triggers the owner of the tables has made.
--
-- It is an UPDATE of topics, so those triggers fire for it: one that sets `updated_at`, as many tables have, made it look like an
-- UPDATE of another program, whose revision does not count. What they write themselves meanwhile was not logged.

-- Nobody may hold one of the tables and wait for another meanwhile; see lock_to_migrate.
SELECT lock_to_migrate('topics', 'transactions');

-- Returns how deep in triggers the stamp of this transaction updates topics, while it does; otherwise null. What triggers write
-- meanwhile is deeper. The setting holds the depth and the proof; anybody may set it, but nobody can know the proof.
CREATE FUNCTION stamp_depth() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    setting CONSTANT TEXT := current_setting('kairanban.stamping', true);
BEGIN
    IF coalesce(setting, '') = '' THEN RETURN NULL; END IF;
    IF split_part(setting, ' ', 2) = (SELECT proof::text FROM transactions WHERE writer = pg_current_xact_id()) THEN
        RETURN split_part(setting, ' ', 1)::integer;
    END IF;
    RETURN NULL;
END $$;

-- Has the transaction stamped after all other deferred constraints: what their triggers write is then part of it, and the lock
-- that the stamp takes is not held while they run.
CREATE FUNCTION stamp_last() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM transactions WHERE writer = pg_current_xact_id_if_assigned();
    IF FOUND THEN PERFORM transaction_begun(); END IF;
END $$;

-- ---------------------------------------------------------------- before

-- What triggers write while the transaction is stamped has its revision at once: the stamp does not come back for it.
CREATE OR REPLACE FUNCTION topics_before() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    applied CONSTANT BOOLEAN := current_setting('session_replication_role') = 'replica';
    stamping CONSTANT BOOLEAN := coalesce(current_setting('kairanban.stamping', true), '') <> '' AND stamp_depth() IS NOT NULL;
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_before() is for the table topics'; END IF;
    -- A NULL counts as not given. There is no OLD for a new row, and all of it is null.
    NEW.author := coalesce(NEW.author, OLD.author, '');
    NEW.archived := coalesce(NEW.archived, OLD.archived, false);
    -- A written revision is overwritten at COMMIT.
    NEW.revision := coalesce(OLD.revision, 0);
    IF stamping THEN NEW.revision := currval('revision_seq'); END IF;
    IF TG_OP = 'INSERT' THEN
        NEW.created_at := coalesce(NEW.created_at, now());
        NEW.updated_at := coalesce(NEW.updated_at, now());
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

CREATE FUNCTION topics_stamped() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_stamped() is for the table topics'; END IF;
    IF stamp_depth() = pg_trigger_depth() THEN
        NEW := OLD;
        NEW.revision := currval('revision_seq');
    END IF;
    RETURN NEW;
END $$;
-- Triggers fire in the order of their names: this one after those of the owner, whose changes it takes back.
CREATE TRIGGER "~topics_stamped" BEFORE UPDATE ON topics FOR EACH ROW
    WHEN (coalesce(current_setting('kairanban.stamping', true), '') <> ''
        AND (OLD.revision = NEW.revision
            OR (OLD.id, OLD.board_id, OLD.comment, OLD.author, OLD.created_at, OLD.updated_at, OLD.edited_at, OLD.archived)
                IS DISTINCT FROM (NEW.id, NEW.board_id, NEW.comment, NEW.author, NEW.created_at, NEW.updated_at, NEW.edited_at, NEW.archived)))
    EXECUTE FUNCTION topics_stamped();
ALTER TABLE topics ENABLE ALWAYS TRIGGER "~topics_stamped";

-- ---------------------------------------------------------------- after

-- As before, but what triggers update while the transaction is stamped is logged, too.
CREATE OR REPLACE FUNCTION topics_updated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    stamping CONSTANT TEXT := current_setting('kairanban.stamping', true);
    archiving CONSTANT BOOLEAN := current_setting('kairanban.archiving', true) = 'on' AND asked_by_server();
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_updated() is for the table topics'; END IF;
    IF stamping <> '' THEN
        -- As stamp_depth() has it; a call costs as much as the rest of this.
        IF stamping = (SELECT format('%s %s', pg_trigger_depth(), proof) FROM transactions WHERE writer = pg_current_xact_id()) THEN
            RETURN NULL;
        END IF;
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

-- ---------------------------------------------------------------- at COMMIT

-- As before, but a topic that keeps its old revision fails the transaction: readers would not be shown what changed in it.
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
BEGIN
    IF TG_RELID <> 'transactions'::regclass THEN RAISE EXCEPTION 'transaction_stamped() is for the table transactions'; END IF;
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
    PERFORM pg_notify(format('kairanban_%s', TG_TABLE_SCHEMA), '');
    RETURN NULL;
END $$;

-- ---------------------------------------------------------------- why a statement fails

-- As before; and `kairanban.failed_in` says where it failed.
CREATE OR REPLACE FUNCTION classified_write(
    statement text, arguments jsonb,
    OUT touched bigint, OUT returned bigint, OUT state text, OUT message text
) LANGUAGE plpgsql SECURITY INVOKER AS $$
DECLARE
    list text := (
        SELECT coalesce('(' || pg_catalog.string_agg(pg_catalog.quote_nullable(value), ', ' ORDER BY ordinality) || ')', '')
        FROM pg_catalog.jsonb_array_elements_text(arguments) WITH ORDINALITY);
    place text;
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
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, place = PG_EXCEPTION_CONTEXT;
        PERFORM pg_catalog.set_config('kairanban.failed_in', place, true);
    END;
    -- A prepared statement outlives the failure.
    IF EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE name = 'kairanban_write') THEN
        DEALLOCATE kairanban_write;
    END IF;
END $$;

DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
        AND p.proname IN ('stamp_depth', 'stamp_last', 'topics_before', 'topics_stamped', 'topics_updated', 'transaction_stamped')
    LOOP
        -- What is replaced forgets its settings.
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', f, current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END $$;
