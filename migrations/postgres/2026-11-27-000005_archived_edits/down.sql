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
CREATE OR REPLACE FUNCTION topics_applied() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_applied() is for the table topics'; END IF;
    -- ENABLE TRIGGER ALL lets it fire in every session: where the statement triggers do, there is nothing left to log.
    IF current_setting('session_replication_role') <> 'replica' THEN RETURN NULL; END IF;
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND (OLD.id, OLD.board_id) <> (NEW.id, NEW.board_id)) THEN
        INSERT INTO changes (kind, board_id, topic_id) VALUES ('delete', OLD.board_id, OLD.id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO changes (kind, board_id, topic_id)
            VALUES (CASE WHEN NEW.archived THEN 'delete' ELSE 'set' END, NEW.board_id, NEW.id);
    END IF;
    PERFORM transaction_begun();
    RETURN NULL;
END $$;
DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['topics_updated', 'topics_applied'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = pg_catalog, %I, pg_temp', f, current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %I() FROM PUBLIC', f);
    END LOOP;
END $$;
