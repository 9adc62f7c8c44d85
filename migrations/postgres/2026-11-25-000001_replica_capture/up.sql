-- Rows that logical replication brings, or a session in the replica role, draw a revision like all others. There the statement
-- triggers do not fire, whatever is set on them: row triggers do their work, and only there.

-- Nobody may hold one of the tables and wait for another meanwhile; see the migration before.
SELECT lock_to_migrate('topics', 'boards, tokens, transactions');

CREATE FUNCTION topics_applied() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
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
BEGIN
    EXECUTE format('ALTER FUNCTION topics_applied() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    REVOKE EXECUTE ON FUNCTION topics_applied() FROM PUBLIC;
END $$;

CREATE TRIGGER topics_applied AFTER INSERT OR DELETE ON topics FOR EACH ROW EXECUTE FUNCTION topics_applied();
-- The stamp, which changes the revision alone, is no change.
CREATE TRIGGER topics_applied_update AFTER UPDATE ON topics FOR EACH ROW
    WHEN ((OLD.id, OLD.board_id, OLD.comment, OLD.author, OLD.created_at, OLD.updated_at, OLD.edited_at, OLD.archived)
        IS DISTINCT FROM (NEW.id, NEW.board_id, NEW.comment, NEW.author, NEW.created_at, NEW.updated_at, NEW.edited_at, NEW.archived))
    EXECUTE FUNCTION topics_applied();
ALTER TABLE topics
    ENABLE REPLICA TRIGGER topics_applied,
    ENABLE REPLICA TRIGGER topics_applied_update,
    ENABLE ALWAYS TRIGGER topics_before_insert,
    ENABLE ALWAYS TRIGGER topics_before_update,
    ENABLE ALWAYS TRIGGER topics_truncated;
ALTER TABLE boards
    ENABLE ALWAYS TRIGGER boards_before,
    ENABLE ALWAYS TRIGGER boards_changed;
ALTER TABLE tokens
    ENABLE ALWAYS TRIGGER tokens_before,
    ENABLE ALWAYS TRIGGER tokens_changed;
ALTER TABLE transactions ENABLE ALWAYS TRIGGER transaction_stamped;
