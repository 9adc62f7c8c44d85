-- An edit of an archived topic is an edit: its revision changes, or a client that has read it before would overwrite it
-- unseen. It was logged as `delete`, which the stamp leaves alone, although the topic is still read page by page and one by
-- one. A follower that reads a `set` of a topic that is not on the list does nothing.
--
-- A topic that another program archives leaves the list, `delete`; if it edits the topic as well, both are logged. What the
-- server archives is `archive` alone, whatever a trigger of the owner's changes in the row then: no list changes by it.
--
-- Each transaction finds the functions of before or of now: no table has to be locked.
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
    -- There is no `o` for a row that came to this board.
    INSERT INTO changes (kind, board_id, topic_id)
        SELECT 'set', n.board_id, n.id
        FROM new_rows n LEFT JOIN old_rows o ON o.id = n.id AND o.board_id = n.board_id
        WHERE ((o.comment, o.author, o.created_at, o.updated_at, o.edited_at)
                IS DISTINCT FROM (n.comment, n.author, n.created_at, n.updated_at, n.edited_at) OR o.archived AND NOT n.archived)
            AND (archiving AND n.archived AND NOT o.archived) IS NOT TRUE
        ORDER BY n.id;
    INSERT INTO changes (kind, board_id, topic_id)
        SELECT CASE WHEN archiving THEN 'archive' ELSE 'delete' END, n.board_id, n.id
        FROM new_rows n JOIN old_rows o ON o.id = n.id AND o.board_id = n.board_id
        WHERE n.archived AND NOT o.archived
        ORDER BY n.id;
    IF EXISTS (SELECT FROM changes WHERE writer = pg_current_xact_id() AND revision IS NULL) THEN
        PERFORM transaction_begun();
    END IF;
    RETURN NULL;
END $$;

-- The same for rows that replication brings.
CREATE OR REPLACE FUNCTION topics_applied() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    -- There is no OLD for a new row, and all of it is null; nor is there a NEW for one that is gone.
    moved CONSTANT BOOLEAN := TG_OP = 'UPDATE' AND (OLD.id, OLD.board_id) <> (NEW.id, NEW.board_id);
    leaves CONSTANT BOOLEAN := TG_OP = 'UPDATE' AND NOT moved AND NEW.archived AND NOT OLD.archived;
BEGIN
    IF TG_RELID <> 'topics'::regclass THEN RAISE EXCEPTION 'topics_applied() is for the table topics'; END IF;
    -- ENABLE TRIGGER ALL lets it fire in every session: where the statement triggers do, there is nothing left to log.
    IF current_setting('session_replication_role') <> 'replica' THEN RETURN NULL; END IF;
    IF TG_OP = 'DELETE' OR moved THEN
        INSERT INTO changes (kind, board_id, topic_id) VALUES ('delete', OLD.board_id, OLD.id);
    END IF;
    IF TG_OP <> 'DELETE' AND (NOT leaves OR (OLD.comment, OLD.author, OLD.created_at, OLD.updated_at, OLD.edited_at)
            IS DISTINCT FROM (NEW.comment, NEW.author, NEW.created_at, NEW.updated_at, NEW.edited_at)) THEN
        INSERT INTO changes (kind, board_id, topic_id) VALUES ('set', NEW.board_id, NEW.id);
    END IF;
    IF leaves THEN
        INSERT INTO changes (kind, board_id, topic_id) VALUES ('delete', NEW.board_id, NEW.id);
    END IF;
    PERFORM transaction_begun();
    RETURN NULL;
END $$;

DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['topics_updated', 'topics_applied'] LOOP
        -- What is replaced forgets its settings.
        EXECUTE format('ALTER FUNCTION %I() SET search_path = pg_catalog, %I, pg_temp', f, current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %I() FROM PUBLIC', f);
    END LOOP;
END $$;
