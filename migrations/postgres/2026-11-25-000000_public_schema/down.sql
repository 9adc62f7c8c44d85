-- Back to the schema before. What was mended stays so.
DROP TRIGGER topics_before_insert ON topics;
DROP TRIGGER topics_before_update ON topics;
DROP TRIGGER boards_before ON boards;
DROP TRIGGER tokens_before ON tokens;
DROP TRIGGER tokens_changed ON tokens;
DROP FUNCTION boards_before();
DROP FUNCTION tokens_before();
DROP FUNCTION move_topic_ids();
DROP FUNCTION take_id(REGCLASS, BIGINT, TEXT);

DO $$
DECLARE
    c RECORD;
BEGIN
    FOR c IN SELECT conrelid::regclass AS tbl, conname FROM pg_constraint
        WHERE connamespace = quote_ident(current_schema())::regnamespace AND contype = 'c' AND conname ~ '_range$'
            AND conrelid::regclass::text IN ('boards', 'topics', 'tokens', 'idempotency', 'tickets', 'audit', 'deleted_topics', 'changes')
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.tbl, c.conname);
    END LOOP;
    FOR c IN SELECT format('%I', table_name) AS tbl, column_name AS col, column_default IS NOT NULL AS has_default
        FROM information_schema.columns WHERE table_schema = current_schema() AND data_type = 'timestamp with time zone'
            AND table_name IN ('boards', 'topics', 'tokens', 'idempotency', 'tickets', 'audit', 'deleted_topics', 'changes')
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER %I DROP DEFAULT', c.tbl, c.col);
        EXECUTE format('ALTER TABLE %1$s ALTER %2$I TYPE TIMESTAMP USING %2$I AT TIME ZONE ''UTC''', c.tbl, c.col);
        IF c.has_default THEN
            EXECUTE format('ALTER TABLE %s ALTER %I SET DEFAULT timezone(''utc'', now())', c.tbl, c.col);
        END IF;
    END LOOP;
END $$;
ALTER TABLE boards DROP CONSTRAINT boards_title_without_control;
ALTER TABLE deleted_topics DROP COLUMN edited_at;
ALTER TABLE topics
    DROP COLUMN edited_at,
    ADD CHECK (created_at BETWEEN '0001-01-01' AND '9999-12-31'),
    ADD CHECK (updated_at BETWEEN '0001-01-01' AND '9999-12-31');

CREATE OR REPLACE FUNCTION topics_before() RETURNS trigger LANGUAGE plpgsql SECURITY INVOKER AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.revision := 0;
    ELSIF current_setting('kairanban.stamping', true) IS DISTINCT FROM 'on' THEN
        NEW.revision := OLD.revision;
        IF (NEW.comment, NEW.author) IS DISTINCT FROM (OLD.comment, OLD.author) AND NEW.updated_at = OLD.updated_at THEN
            NEW.updated_at := timezone('utc', clock_timestamp());
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER topics_before BEFORE INSERT OR UPDATE ON topics FOR EACH ROW EXECUTE FUNCTION topics_before();
CREATE TRIGGER tokens_changed AFTER INSERT OR DELETE OR UPDATE OF name, digest, scope, board_id, expires_at, revoked_at
    ON tokens FOR EACH ROW EXECUTE FUNCTION tokens_changed();

CREATE OR REPLACE FUNCTION topics_updated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF current_setting('kairanban.stamping', true) = 'on' THEN RETURN NULL; END IF;
    INSERT INTO changes (kind, board_id, topic_id)
        SELECT 'delete', o.board_id, o.id FROM old_rows o
        WHERE NOT EXISTS (SELECT FROM new_rows n WHERE n.id = o.id AND n.board_id = o.board_id)
        ORDER BY o.id;
    INSERT INTO changes (kind, board_id, topic_id)
        SELECT CASE WHEN NOT n.archived THEN 'set'
                    WHEN current_setting('kairanban.archiving', true) = 'on' THEN 'archive'
                    ELSE 'delete' END, n.board_id, n.id
        FROM new_rows n LEFT JOIN old_rows o ON o.id = n.id
        WHERE (o.board_id, o.comment, o.author, o.created_at, o.updated_at, o.archived)
            IS DISTINCT FROM (n.board_id, n.comment, n.author, n.created_at, n.updated_at, n.archived)
        ORDER BY n.id;
    IF EXISTS (SELECT FROM changes WHERE writer = pg_current_xact_id() AND revision IS NULL) THEN
        PERFORM transaction_begun();
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION transaction_stamped() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    drawn BIGINT;
BEGIN
    PERFORM pg_advisory_xact_lock('revision_seq'::regclass::oid::bigint);
    drawn := nextval('revision_seq');
    PERFORM set_config('kairanban.stamping', 'on', true);
    UPDATE topics t SET revision = drawn FROM changes c
        WHERE c.writer = NEW.writer AND c.revision IS NULL AND c.kind = 'set' AND t.id = c.topic_id AND t.board_id = c.board_id;
    UPDATE changes SET revision = drawn, at = timezone('utc', clock_timestamp()) WHERE writer = NEW.writer AND revision IS NULL;
    DELETE FROM transactions WHERE writer = NEW.writer;
    PERFORM set_config('kairanban.stamping', 'off', true);
    PERFORM set_config('kairanban.revision', drawn::text, true);
    IF current_setting('kairanban.quiet', true) IS DISTINCT FROM 'on' THEN
        PERFORM pg_notify('kairanban_' || TG_TABLE_SCHEMA, '');
    END IF;
    RETURN NULL;
END $$;

DROP FUNCTION move_ids(REGCLASS, BIGINT);
DROP FUNCTION asked_by_server();
DROP FUNCTION lock_to_migrate(TEXT, TEXT);
ALTER SEQUENCE topics_id_seq NO MAXVALUE;
ALTER TABLE transactions DROP COLUMN proof;
DROP TABLE commit_order;
DELETE FROM identity WHERE key = 'mended';

-- CREATE OR REPLACE keeps no setting.
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
        AND p.proname IN ('topics_before', 'topics_updated', 'transaction_stamped')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', f, current_schema());
    END LOOP;
END $$;
